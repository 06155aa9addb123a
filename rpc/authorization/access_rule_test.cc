#include "rpc/authorization/access_rule.h"

#include <unistd.h>

#include <stdexcept>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ipcrpc::rpc {
namespace {

using Verdict = AccessRule::Verdict;

constexpr uid_t kUnknown = PeerCredentials::kUnknownUid;

AccessRule Resolved(const AuthorizationRule& rule, bool allow_unverified = false) {
  absl::StatusOr<AccessRule> resolved = AccessRule::Resolve(rule, allow_unverified);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return *std::move(resolved);
}

PeerCredentials Known(uid_t uid, gid_t gid = 70, std::vector<gid_t> groups = {}, pid_t pid = 9) {
  return {.pid = pid, .uid = uid, .gid = gid, .vouched = true, .groups = std::move(groups)};
}

PeerCredentials Claimed(uid_t uid) { return {.pid = 9, .uid = uid, .gid = 70, .vouched = false}; }

TEST(AccessRuleTest, AllowsWhomAnyLineAllows) {
  const AccessRule rule = Resolved(AuthorizationRule().AllowUid(5).AllowUid(6).AllowGid(7).AllowPid(8));
  EXPECT_EQ(rule.Judge(Known(5)), Verdict::kAllowed);
  EXPECT_EQ(rule.Judge(Known(6)), Verdict::kAllowed);
  EXPECT_EQ(rule.Judge(Known(1, 7)), Verdict::kAllowed);
  EXPECT_EQ(rule.Judge(Known(1, 2, {3, 7})), Verdict::kAllowed);
  EXPECT_EQ(rule.Judge(Known(1, 2, {3, 4}, 8)), Verdict::kAllowed);
  EXPECT_EQ(rule.Judge(Known(7, 5, {6, 8}, 5)), Verdict::kDenied) << "a number of another kind";
  EXPECT_EQ(rule.allowed(), "uid 5, uid 6, gid 7, pid 8");
}

TEST(AccessRuleTest, WithoutALineAllowsNobody) {
  const AccessRule rule = Resolved({});
  EXPECT_EQ(rule.Judge(Known(0)), Verdict::kDenied);
  EXPECT_EQ(rule.Judge(Known(geteuid())), Verdict::kDenied);
  EXPECT_EQ(rule.allowed(), "nobody");
}

TEST(AccessRuleTest, TheServersUserIsItsEffectiveOne) {
  const AccessRule rule = Resolved(AuthorizationRule().AllowSameUser());
  EXPECT_EQ(rule.Judge(Known(geteuid())), Verdict::kAllowed);
  EXPECT_EQ(rule.Judge(Known(geteuid() + 1)), Verdict::kDenied);
}

TEST(AccessRuleTest, LooksNamesUp) {
  const AccessRule rule = Resolved(AuthorizationRule().AllowUser("root").AllowGroup("root"));
  EXPECT_EQ(rule.Judge(Known(0)), Verdict::kAllowed);
  EXPECT_EQ(rule.Judge(Known(1, 0)), Verdict::kAllowed);
  EXPECT_EQ(rule.Judge(Known(1, 1)), Verdict::kDenied);
  EXPECT_EQ(rule.allowed(), "user root (uid 0), group root (gid 0)");
  EXPECT_EQ(AccessRule::Resolve(AuthorizationRule().AllowUser("no-such-user"), false).status(),
            absl::InvalidArgumentError("there is no user 'no-such-user'"));
  EXPECT_EQ(AccessRule::Resolve(AuthorizationRule().AllowGroup(""), false).status(), absl::InvalidArgumentError("there is no group ''"));
  // Numbers are not names.
  EXPECT_FALSE(AccessRule::Resolve(AuthorizationRule().AllowUser("0"), false).ok());
}

// They stand for everybody whom this user namespace does not know.
TEST(AccessRuleTest, OverflowIdsMatchNothing) {
  const auto yes = [](const PeerCredentials&, std::string_view) { return true; };
  const AccessRule rule =
      Resolved(AuthorizationRule().AllowUid(kUnknown).AllowGid(kUnknown).AllowGid(7).AllowPid(8).AllowIf(yes, "all"));
  EXPECT_EQ(rule.Judge(Known(kUnknown, 7, {7}, 8)), Verdict::kDenied);
  EXPECT_EQ(rule.Judge(Known(1, kUnknown, {kUnknown})), Verdict::kAsk) << "the gid allows nothing";
  EXPECT_EQ(rule.Judge(Known(1, kUnknown, {7})), Verdict::kAllowed) << "another of its groups is known";
  EXPECT_EQ(Resolved(AuthorizationRule().AllowAnyone()).Judge(Known(kUnknown)), Verdict::kAllowed);
  // A pid of 0 is one that is not seen.
  EXPECT_EQ(Resolved(AuthorizationRule().AllowPid(0)).Judge(Known(1, 1, {}, 0)), Verdict::kDenied);
}

TEST(AccessRuleTest, WhatAPeerClaimsCountsForNothingUnlessThatIsAllowed) {
  const AuthorizationRule by_uid = AuthorizationRule().AllowUid(5);
  EXPECT_EQ(Resolved(by_uid).Judge(Claimed(5)), Verdict::kDenied);
  EXPECT_EQ(Resolved(by_uid, true).Judge(Claimed(5)), Verdict::kAllowed);
  EXPECT_EQ(Resolved(by_uid, true).Judge(Claimed(6)), Verdict::kAllowed);
  EXPECT_EQ(Resolved(by_uid, true).Judge(Known(6)), Verdict::kDenied) << "of whom the kernel tells";
  EXPECT_EQ(Resolved({}, true).Judge(Claimed(5)), Verdict::kDenied);
  EXPECT_EQ(Resolved(AuthorizationRule().AllowAnyone()).Judge(Claimed(5)), Verdict::kAllowed);
  const AuthorizationRule asks = AuthorizationRule().AllowIf([](const auto&, auto) { return true; }, "all");
  EXPECT_EQ(Resolved(asks).Judge(Claimed(5)), Verdict::kDenied);
  EXPECT_EQ(Resolved(asks, true).Judge(Claimed(5)), Verdict::kAsk);
}

TEST(AccessRuleTest, AsksPredicatesInTurnUntilOneSaysYes) {
  std::string asked;
  const auto says = [&](char name, bool answer) {
    return [&asked, name, answer](const PeerCredentials&, std::string_view method) {
      EXPECT_EQ(method, "/a.B/C");
      asked += name;
      return answer;
    };
  };
  const AccessRule rule =
      Resolved(AuthorizationRule().AllowIf(says('a', false), "A").AllowIf(says('b', true), "B").AllowIf(says('c', true), "C"));
  EXPECT_EQ(rule.Judge(Known(5)), Verdict::kAsk);
  EXPECT_TRUE(rule.Holds(Known(5), "/a.B/C"));
  EXPECT_EQ(asked, "ab");
  EXPECT_EQ(rule.allowed(), "A, B, C");
}

TEST(AccessRuleTest, APredicateThatThrowsSaysNo) {
  const auto throws = [](const PeerCredentials&, std::string_view) -> bool { throw std::runtime_error("no"); };
  EXPECT_FALSE(Resolved(AuthorizationRule().AllowIf(throws, "x")).Holds(Known(5), "/a.B/C"));
  EXPECT_EQ(AccessRule::Resolve(AuthorizationRule().AllowIf({}, "x"), false).status(),
            absl::InvalidArgumentError("AllowIf() was given no predicate"));
}

// It has to fit into a status.
TEST(AccessRuleTest, ALongDescriptionIsCut) {
  AuthorizationRule rule;
  for (uid_t uid = 1; uid < 10'000; ++uid) rule.AllowUid(uid);
  const AccessRule resolved = Resolved(rule);
  EXPECT_LT(resolved.allowed().size(), 1100u);
  EXPECT_THAT(resolved.allowed(), ::testing::StartsWith("uid 1, uid 2, "));
  EXPECT_THAT(resolved.allowed(), ::testing::EndsWith(" …"));
  EXPECT_EQ(resolved.Judge(Known(9'999)), Verdict::kAllowed) << "not the rule itself";
}

}  // namespace
}  // namespace ipcrpc::rpc
