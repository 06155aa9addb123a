// Clients that really are other users: processes of other uids, gids and supplementary groups. For root.
#include <grp.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

using ipcrpc::AuthorizationPolicy;
using ipcrpc::AuthorizationRule;

constexpr uid_t kUser = 54'321, kOther = 54'322;
constexpr gid_t kGroup = 54'331, kSupplementary = 54'341;

class AuthorizationOfUsers : public BehaviourTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root has clients of other users";
    std::filesystem::permissions(getenv("IPCRPC_RUNTIME_DIR"), std::filesystem::perms(0755));
    service_.unary = [this](ServerContext* context, const Msg*, Msg*) {
      ++ran_;
      std::lock_guard lock(mu_);
      last_ = context->peer_credentials();
      return Status::OK;
    };
  }
  ~AuthorizationOfUsers() override { StopServer(); }

  void StartWith(const AuthorizationRule& rule) {
    StopServer();
    server_ = Serve(service_, address() + "?mode=0666", [&](ipcrpc::ServerBuilder& builder) {
      builder.SetAuthorizationPolicy(AuthorizationPolicy().SetRule("/behaviour.Methods/Unary", rule));
    });
  }
  // What the call of a process ends with that is this user and in these groups.
  static StatusCode CallAs(const std::string& at, uid_t uid, gid_t gid, const std::vector<gid_t>& groups) {
    std::vector<std::string> arguments = {"as", at, std::to_string(uid), std::to_string(gid)};
    for (const gid_t group : groups) arguments.push_back(std::to_string(group));
    Process client(arguments);
    const int status = client.Wait();
    EXPECT_TRUE(WIFEXITED(status)) << status;
    return static_cast<StatusCode>(WEXITSTATUS(status));
  }
  void ExpectAllowed(uid_t uid, gid_t gid, const std::vector<gid_t>& groups = {}) {
    ran_ = 0;
    EXPECT_EQ(CallAs(address(), uid, gid, groups), StatusCode::OK);
    EXPECT_EQ(ran_, 1);
    EXPECT_EQ(last().uid, uid);
    EXPECT_TRUE(last().vouched);
  }
  void ExpectRefused(uid_t uid, gid_t gid, const std::vector<gid_t>& groups = {}) {
    ran_ = 0;
    EXPECT_EQ(CallAs(address(), uid, gid, groups), StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(ran_, 0) << "as uid " << last().uid;
  }
  // Whose call ran last.
  ipcrpc::PeerCredentials last() {
    std::lock_guard lock(mu_);
    return last_;
  }
  // The kernel tells of the peer's supplementary groups.
  static bool tells_groups() { return scheme() == "shm" || scheme() == "unix"; }

  std::atomic<int> ran_{0};
  std::mutex mu_;
  ipcrpc::PeerCredentials last_;  // guarded by mu_
};

#if defined(__SANITIZE_THREAD__)
constexpr std::string_view kForOthers[] = {"shm", "unix"};
#elif defined(__SANITIZE_ADDRESS__)
constexpr std::string_view kForOthers[] = {"shm", "unix", "mqueue"};
#else
constexpr std::string_view kForOthers[] = {"shm", "unix", "fifo", "mqueue", "sysvmq", "netlink"};
#endif
INSTANTIATE_TEST_SUITE_P(All, AuthorizationOfUsers, ::testing::ValuesIn(kForOthers), SchemeName);

// Where an address can ask for trust.
class TrustOfUsers : public AuthorizationOfUsers {};
INSTANTIATE_TEST_SUITE_P(All, TrustOfUsers, ::testing::Values("shm", "unix"), SchemeName);

TEST_P(TrustOfUsers, IsNotForAnothersServer) {
  StartWith(AuthorizationRule().AllowUid(kUser).AllowUid(0));
  EXPECT_EQ(CallAs(address() + "?trust=peer", kUser, kGroup, {}), StatusCode::UNAVAILABLE) << "it does not connect";
  EXPECT_EQ(ran_, 0);
  ExpectAllowed(kUser, kGroup);
  EXPECT_EQ(CallAs(address() + "?trust=peer", 0, 0, {}), StatusCode::OK);
}

TEST_P(TrustOfUsers, OfAServerLetsOthersCallIt) {
  StopServer();
  server_ = Serve(service_, address() + "?mode=0666&trust=peer");
  ExpectAllowed(kUser, kGroup);
}

TEST_P(AuthorizationOfUsers, IsByTheirUid) {
  StartWith(AuthorizationRule().AllowUid(kUser));
  ExpectAllowed(kUser, kGroup);
  ExpectAllowed(kUser, kOther);
  ExpectRefused(kOther, kGroup);
  ExpectRefused(kOther, kUser);
  ExpectRefused(0, 0);
}

TEST_P(AuthorizationOfUsers, IsByTheServersUid) {
  StartWith(AuthorizationRule().AllowSameUser());
  ExpectAllowed(0, 0);
  ExpectRefused(kUser, 0);
}

TEST_P(AuthorizationOfUsers, IsByTheirGroups) {
  StartWith(AuthorizationRule().AllowGid(kSupplementary));
  ExpectRefused(kUser, kGroup);
  ExpectRefused(kUser, kGroup, {kOther, kGroup});
  const std::vector<gid_t> groups = {kOther, kSupplementary};
  tells_groups() ? ExpectAllowed(kUser, kGroup, groups) : ExpectRefused(kUser, kGroup, groups);
  if (!tells_groups()) return;
  EXPECT_EQ(last().gid, kGroup);
  EXPECT_THAT(last().groups, ::testing::UnorderedElementsAreArray(groups));
  // More than fit into a first look.
  std::vector<gid_t> many(100);
  for (size_t i = 0; i < many.size(); ++i) many[i] = kSupplementary + static_cast<gid_t>(many.size() - 1 - i);
  ExpectAllowed(kUser, kGroup, many);
  EXPECT_THAT(last().groups, ::testing::UnorderedElementsAreArray(many));
}

TEST_P(AuthorizationOfUsers, IsByTheirPrimaryGroup) {
  StartWith(AuthorizationRule().AllowGid(kGroup));
  ExpectAllowed(kUser, kGroup);
  EXPECT_EQ(last().gid, kGroup);
  ExpectRefused(kUser, kOther);
}

// Users whom this user namespace does not know all are this one: no rule is for them but that for anyone.
TEST_P(AuthorizationOfUsers, TheOverflowUidIsNobodys) {
  const uid_t nobody = ipcrpc::PeerCredentials::kUnknownUid;
  StartWith(AuthorizationRule().AllowUid(nobody).AllowGid(nobody).AllowGid(kGroup));
  if (tells_groups()) {
    ExpectRefused(nobody, kGroup, {kGroup});
  } else {
    EXPECT_EQ(CallAs(address(), nobody, kGroup, {}), StatusCode::UNAVAILABLE) << "it does not even get a connection";
  }
  StartWith(AuthorizationRule().AllowGid(nobody));
  ExpectRefused(kUser, nobody);
  if (!tells_groups()) return;
  StartWith(AuthorizationRule().AllowAnyone());
  ExpectAllowed(nobody, kGroup);
}

}  // namespace
}  // namespace behaviour
