#include "transport/trust.h"

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ipcrpc {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Address At(std::string_view text) { return *ParseAddress(text); }

PeerIdentity Of(uid_t uid, bool vouched = true) { return {.pid = 1, .uid = uid, .gid = 0, .vouched = vouched}; }

TEST(TrustTest, IsForOnesOwnUser) {
  EXPECT_TRUE(OfOurUid(Of(geteuid())));
  EXPECT_FALSE(OfOurUid(Of(geteuid() + 1)));
  EXPECT_FALSE(OfOurUid(Of(geteuid(), /*vouched=*/false))) << "anybody could say so";
  EXPECT_FALSE(OfOurUid(Of(PeerIdentity::kUnknownUid)));
}

TEST(TrustTest, IsAskedForInTheAddress) {
  EXPECT_FALSE(*TrustParameter(At("shm:a")));
  EXPECT_TRUE(*TrustParameter(At("shm:a?trust=peer")));
  const auto wrong = TrustParameter(At("shm:a?trust=1"));
  EXPECT_TRUE(absl::IsInvalidArgument(wrong.status()));
  EXPECT_THAT(std::string(wrong.status().message()), AllOf(HasSubstr("trust"), HasSubstr("peer")));
}

TEST(TrustTest, OfAnotherUsersServerIsRefused) {
  EXPECT_TRUE(CheckTrust(At("shm:a?trust=peer"), Of(geteuid())).ok());
  EXPECT_TRUE(CheckTrust(At("shm:a"), Of(geteuid() + 1)).ok()) << "nobody asked";
  const absl::Status refused = CheckTrust(At("shm:a?trust=peer"), Of(geteuid() + 1));
  EXPECT_TRUE(absl::IsPermissionDenied(refused));
  EXPECT_THAT(std::string(refused.message()), AllOf(HasSubstr("shm:a?trust=peer"), HasSubstr("leave the parameter out")));
}

}  // namespace
}  // namespace ipcrpc
