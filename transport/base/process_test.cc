#include "transport/base/process.h"

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <thread>

#include "gtest/gtest.h"
#include "transport/testing/child.h"

namespace ipcrpc {
namespace {

constexpr uid_t kUser = 54'321, kOther = 54'322;

// Of a child that has become these users and groups (real, effective, saved).
ProcessOwner OwnerOfChild(uid_t real, uid_t effective, uid_t saved, gid_t real_gid, gid_t effective_gid, gid_t saved_gid) {
  Child child([&] {
    if (setresgid(real_gid, effective_gid, saved_gid) != 0 || setresuid(real, effective, saved) != 0) return 1;
    pause();
    return 0;
  });
  ProcessOwner owner = OwnerOfProcess(child.pid());
  for (int ms = 0; ms < 20'000 && owner.uid == uid_t{0}; ++ms) {  // not yet
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    owner = OwnerOfProcess(child.pid());
  }
  return owner;
}

TEST(ProcessOwnerTest, OfThisProcess) {
  const ProcessOwner owner = OwnerOfProcess(getpid());
  EXPECT_EQ(owner.uid, getuid());
  EXPECT_EQ(owner.gid, getgid());
}

TEST(ProcessOwnerTest, IsOneInEveryRespectOrNone) {
  if (geteuid() != 0) GTEST_SKIP() << "only root becomes others";
  ProcessOwner owner = OwnerOfChild(kUser, kUser, kUser, kOther, kOther, kOther);
  EXPECT_EQ(owner.uid, kUser);
  EXPECT_EQ(owner.gid, kOther);
  // As in a set-uid program, in one that has dropped that for a time, and in a set-gid one.
  EXPECT_EQ(OwnerOfChild(kUser, kOther, kOther, kUser, kUser, kUser).uid, std::nullopt);
  EXPECT_EQ(OwnerOfChild(kUser, kUser, kOther, kUser, kUser, kUser).uid, std::nullopt);
  owner = OwnerOfChild(kUser, kUser, kUser, kUser, kOther, kOther);
  EXPECT_EQ(owner.uid, kUser);
  EXPECT_EQ(owner.gid, std::nullopt);
}

TEST(ProcessOwnerTest, OfNoProcessIsNobody) {
  Child child([] { return 0; });
  const pid_t pid = child.pid();
  child.Wait();
  const ProcessOwner owner = OwnerOfProcess(pid);
  EXPECT_FALSE(owner.uid.has_value() || owner.gid.has_value());
}

}  // namespace
}  // namespace ipcrpc
