// gRPC and ipcrpc in one program, with the same protos, reflection and health of both: what a migration looks like half-way.
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/both/side.h"

namespace both {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::UnorderedElementsAreArray;

class BothTest : public ::testing::Test {
 protected:
  BothTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "both-XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  ~BothTest() override {
    grpc_.reset();
    ipcrpc_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  // Each by its own switch: the one's is off again before the other builds.
  void Start(bool grpc_health = true, bool ipcrpc_health = true) {
    ASSERT_TRUE(grpc_->Serve("unix:" + directory_ + "/grpc", "gRPC", grpc_health));
    ASSERT_TRUE(ipcrpc_->Serve("shm:" + directory_ + "/ipcrpc", "ipcrpc", ipcrpc_health));
    grpc_->Connect("unix:" + directory_ + "/grpc");
    ipcrpc_->Connect("shm:" + directory_ + "/ipcrpc");
  }
  std::vector<Side*> sides() { return {grpc_.get(), ipcrpc_.get()}; }

  std::string directory_;
  std::unique_ptr<Side> grpc_ = grpc_side::Make(), ipcrpc_ = ipcrpc_side::Make();
};

TEST_F(BothTest, EachAnswersItsOwnCalls) {
  Start();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(grpc_->Say("hello"), "gRPC: hello");
    EXPECT_EQ(ipcrpc_->Say("hello"), "ipcrpc: hello");
    EXPECT_THAT(grpc_->SayMany({"a", "b"}), ElementsAre("gRPC: a", "gRPC: b"));
    EXPECT_THAT(ipcrpc_->SayMany({"a", "b"}), ElementsAre("ipcrpc: a", "ipcrpc: b"));
  }
}

TEST_F(BothTest, TheirGeneratedClassesAreDifferent) { EXPECT_NE(grpc_->service_type(), ipcrpc_->service_type()); }

TEST_F(BothTest, EachServesReflection) {
  Start();
  for (Side* side : sides()) {
    EXPECT_THAT(side->Services(), Contains("both.Echo"));
    EXPECT_THAT(side->Services(), Contains("grpc.reflection.v1alpha.ServerReflection"));
    EXPECT_THAT(side->FilesWith("both.Echo.Say"), Contains("both.proto"));
  }
}

TEST_F(BothTest, TheirReflectionSaysTheSame) {
  Start();
  const std::string newer = "grpc.reflection.v1.ServerReflection";  // of the two names of one service, gRPC may have the older alone
  std::vector<std::string> expected = grpc_->Services();
  if (std::ranges::find(expected, newer) == expected.end()) expected.push_back(newer);
  EXPECT_THAT(ipcrpc_->Services(), UnorderedElementsAreArray(expected));
  EXPECT_THAT(ipcrpc_->FilesWith("both.Text"), ElementsAreArray(grpc_->FilesWith("both.Text")));
}

TEST_F(BothTest, EachServesHealth) {
  Start();
  for (Side* side : sides()) {
    EXPECT_EQ(side->Check(""), "SERVING");
    EXPECT_EQ(side->Check("both.Echo"), "NOT_FOUND");
  }
  grpc_->SetServing("both.Echo", true);
  ipcrpc_->SetServing("both.Echo", false);
  EXPECT_EQ(grpc_->Check("both.Echo"), "SERVING");
  EXPECT_EQ(ipcrpc_->Check("both.Echo"), "NOT_SERVING");
  grpc_->SetServing("", false);
  EXPECT_EQ(grpc_->Check(""), "NOT_SERVING");
  EXPECT_EQ(ipcrpc_->Check(""), "SERVING");
}

TEST_F(BothTest, EachTellsItsOwnChanges) {
  Start();
  for (Side* side : sides()) {
    side->Watch("both.Echo");
    EXPECT_EQ(side->NextWatched(), "SERVICE_UNKNOWN");
  }
  grpc_->SetServing("both.Echo", true);
  ipcrpc_->SetServing("both.Echo", false);
  EXPECT_EQ(grpc_->NextWatched(), "SERVING");
  EXPECT_EQ(ipcrpc_->NextWatched(), "NOT_SERVING");
  for (Side* side : sides()) EXPECT_TRUE(side->StopWatching());
}

TEST_F(BothTest, HealthOfGrpcAlone) {
  Start(true, false);
  EXPECT_EQ(grpc_->Check(""), "SERVING");
  EXPECT_EQ(ipcrpc_->Check(""), "UNIMPLEMENTED");
}

TEST_F(BothTest, HealthOfIpcrpcAlone) {
  Start(false, true);
  EXPECT_EQ(grpc_->Check(""), "UNIMPLEMENTED");
  EXPECT_EQ(ipcrpc_->Check(""), "SERVING");
}

}  // namespace
}  // namespace both
