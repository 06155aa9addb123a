// Who is at the other end: names that another user took, and whom the kernel or a file tells of.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "transport/base/process.h"
#include "transport/names.h"
#include "transport/testing/rendezvous_kit.h"

namespace ipcrpc::rendezvous {
namespace {

using ::testing::HasSubstr;

TEST_P(Rendezvous, ANameThatAnotherUserTookIsNotBelieved) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
  const std::string taken = Cat(mechanism().scheme(), ":", directory_.path(), "/taken");
  ServerProcess stranger(taken + "?mode=0666", kStranger);
  ASSERT_TRUE(stranger.up());
  const absl::Status refused = Dial(taken).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("uid 65533"), HasSubstr("?uid=")));
  // On purpose it can be.
  absl::StatusOr<std::unique_ptr<Link>> link = Dial(Cat(taken, "?uid=", kStranger));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ((*link)->peer().uid, kStranger);
  EXPECT_TRUE(Echoes(**link));
}

TEST_P(Rendezvous, ANameInTheRuntimeDirectoryThatAnotherUserTookIsNotBelieved) {
  ServerProcess server(address());
  ASSERT_TRUE(server.up());
  ASSERT_EQ(chown(place().c_str(), kStranger, kStranger), 0);
  EXPECT_TRUE(absl::IsPermissionDenied(Dial(address()).status()));
  ASSERT_EQ(chown(place().c_str(), 0, 0), 0);
}

TEST_P(Rendezvous, NobodyIsNeverBelieved) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
  const std::string taken = Cat(mechanism().scheme(), ":", directory_.path(), "/taken");
  ServerProcess nobody(taken + "?mode=0666", PeerIdentity::kUnknownUid);
  ASSERT_TRUE(nobody.up());
  EXPECT_TRUE(absl::IsPermissionDenied(Dial(taken + "?uid=65534").status()));
}

TEST_P(Rendezvous, WhatIsNoPlaceIsNotOpened) {
  const std::string path = place();
  const auto refused = [&] { return Dial(address(), 2000).status(); };
  const int64_t start = MonotonicNs();
  ASSERT_EQ(mknod(path.c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused())) << refused();
  std::filesystem::remove(path);
  if (mechanism().kind() == Kind::kFifo) {
    std::ofstream(path) << "precious";
  } else {
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);  // nobody writes to it: a careless open would block
  }
  EXPECT_TRUE(absl::IsFailedPrecondition(refused())) << refused();
  // Nor does a server take it away.
  const bool precious = mechanism().kind() == Kind::kFifo;
  if (precious) {
    EXPECT_TRUE(absl::IsAlreadyExists(Listen(*ParseAddress(address())).status()));
  }
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/dev/null", path);
  EXPECT_TRUE(absl::IsPermissionDenied(refused())) << refused();
  if (mechanism().kind() != Kind::kFifo) {
    std::filesystem::remove(path);
    std::ofstream(path) << "precious";
    EXPECT_FALSE(refused().ok());
    EXPECT_TRUE(absl::IsAlreadyExists(Listen(*ParseAddress(address())).status()));
  }
  EXPECT_LT(MonotonicNs() - start, 2'000'000'000) << "it waited";
  EXPECT_TRUE(std::filesystem::exists(std::filesystem::symlink_status(path)));
}

TEST_P(Rendezvous, OthersMayWriteAtMost) {
  struct stat info;
  {
    auto listener = Listen(*ParseAddress(address()));
    ASSERT_TRUE(listener.ok()) << listener.status();
    ASSERT_EQ(stat(place().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
  auto listener = Listen(*ParseAddress(address() + "?mode=0666"));
  ASSERT_TRUE(listener.ok()) << listener.status();
  ASSERT_EQ(stat(place().c_str(), &info), 0);
  // The FIFO is the queue of asks itself; of the others this is the file that says which it is.
  EXPECT_EQ(info.st_mode & 07777, mechanism().kind() == Kind::kFifo ? 0622u : 0644u);
  EXPECT_TRUE(absl::IsInvalidArgument(Listen(*ParseAddress(address("x") + "?mode=rw")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Listen(*ParseAddress(Cat(mechanism().scheme(), ":@abstract"))).status()));
}

TEST_P(Rendezvous, AUserIsKnownByTheKernelsWord) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  LinkHost host(address() + "?mode=0666");
  Child client([&] {
    if (setresgid(kStranger, kStranger, kStranger) != 0 || setresuid(kStranger, kStranger, kStranger) != 0) return 1;
    absl::StatusOr<std::unique_ptr<Link>> link = Dial(address());
    if (!link.ok()) fprintf(stderr, "%s\n", link.status().ToString().c_str());
    return link.ok() && (*link)->peer().uid == 0 ? (pause(), 0) : 2;
  });
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(link->peer().uid, kStranger);
  EXPECT_EQ(link->peer().pid, client.pid());
  EXPECT_TRUE(link->peer().vouched);
}

// A program that its user may start, but that runs as root, holds a pair that its starter has opened; another process proves.
TEST_P(Rendezvous, ASetUidProgramThatHoldsThePairIsNotThePeer) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  const std::string program = directory_.path() + "/waits";
  std::filesystem::copy_file("/bin/sleep", program);
  std::filesystem::permissions(program, std::filesystem::perms(06755));
  LinkHost host(address() + "?mode=0666");
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // the prover is ours once its parent is gone
  Child client([&] {
    if (setresgid(kStranger, kStranger, kStranger) != 0 || setresuid(kStranger, kStranger, kStranger) != 0) return 1;
    RawClient raw(mechanism(), address());
    raw.SendAsk(RandomToken(), geteuid(), PidNamespace());
    const Welcome welcome = raw.Await();
    if (welcome.state != Welcome::kReady) return 2;
    End end = raw.Open(welcome);
    for (int fd = 3; fd < 256; ++fd) fcntl(fd, F_SETFD, 0);
    const pid_t self = getpid();
    Child prover([&] {
      struct stat info;
      do {
        if (stat(Cat("/proc/", self).c_str(), &info) != 0) return 1;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      } while (info.st_uid != 0);
      return RawClient::Prove(end, welcome.nonce) ? (pause(), 0) : 1;
    });
    execl(program.c_str(), program.c_str(), "60", nullptr);
    return 3;
  });
  const std::unique_ptr<Link> link = host.Accept();
  client.Kill(SIGKILL), client.Wait();
  while (waitpid(-1, nullptr, 0) > 0) {
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(link->peer().uid, kStranger);
  EXPECT_EQ(link->peer().gid, PeerIdentity::kUnknownGid);
  EXPECT_TRUE(link->peer().vouched);
}

}  // namespace
}  // namespace ipcrpc::rendezvous
