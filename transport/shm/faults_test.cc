// What the machine may refuse or lack, made real: system calls filtered, /dev/shm full, limits of System V IPC reached,
// processes killed at any point, namespaces that only the socket's directory joins.
#include <signal.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <time.h>

#include <random>

#include "gmock/gmock.h"
#include "transport/base/futex.h"
#include "transport/base/log.h"
#include "transport/names.h"
#include "transport/shm/bell.h"
#include "transport/shm/ledger.h"
#include "transport/shm/memory.h"
#include "transport/shm/segment.h"
#include "transport/shm/testing/parts_testing.h"
#include "transport/testing/link_peer.h"
#include "transport/testing/sandbox.h"
#include "transport/testing/swept_dir.h"

namespace ipcrpc::shm {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// In a child, for filters cannot be taken off again.
template <typename Body>
void InChild(Body body) {
  EXPECT_EQ(RunInNamespaces(0, std::move(body)), 0);
}

std::vector<std::string> EntriesOf(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) names.push_back(entry.path().filename());
  return names;
}

class FaultsTest : public ::testing::Test {
 protected:
  SweptRuntimeDir directory_;
};

// ---- system calls that are refused -------------------------------------------------------------

class LogCapture {
 public:
  LogCapture() {
    SetLogSink([this](LogSeverity, std::string_view message) { messages.emplace_back(message); });
  }
  ~LogCapture() { SetLogSink({}); }
  std::vector<std::string> messages;
};

// A process looks once whether it may, so this is one that has not looked yet: this program again.
TEST_F(FaultsTest, WithoutFutexWaitvThereIsASecondWay) {
  constexpr char kRefused[] = "IPCRPC_TEST_FUTEX_WAITV_REFUSED_WITH";
  if (const char* error = getenv(kRefused)) {
    const LogCapture log;
    ExpectCarries("shm:faults");
    EXPECT_FALSE(HasFutexWaitv());
    EXPECT_THAT(log.messages, Contains(AllOf(HasSubstr("futex_waitv is refused"), HasSubstr(error))));
    // A kick and a deadline end a wait in this way, too.
    LinkHost host("shm:faults");
    const std::unique_ptr<Link> client = *TryConnect("shm:faults");
    const std::unique_ptr<Link> link = host.Accept();
    const int64_t start = MonotonicNs();
    EXPECT_FALSE(LinkDriver(*link).DriveUntil([] { return false; }, 100));
    EXPECT_GE(MonotonicNs() - start, 100'000'000);
    std::thread kicker([&] { link->Kick(); });
    link->Wait(InMs(20'000));
    kicker.join();
    EXPECT_LT(MonotonicNs() - start, 10'000'000'000);
    return;
  }
  for (const int error : {ENOSYS, EPERM}) {
    Child refused([&] {
      RefuseSystemCall(SYS_futex_waitv, error);
      setenv(kRefused, strerror(error), 1);
      return execl("/proc/self/exe", "shm_parts_test", "--gtest_brief=1", "--gtest_filter=FaultsTest.WithoutFutexWaitv*", nullptr);
    });
    EXPECT_EQ(refused.Wait(), 0);
  }
}

TEST_F(FaultsTest, WithoutPidfdOpenDeathIsSeenAllTheSame) {
  InChild([] {
    RefuseSystemCall(SYS_pidfd_open, ENOSYS);
    Child client([] {
      for (;;) {
        const absl::StatusOr<std::unique_ptr<Link>> link = TryConnect("shm:faults");
        if (link.ok()) pause();
      }
      return 0;
    });
    LinkHost host("shm:faults");
    const std::unique_ptr<Link> link = host.Accept();
    ASSERT_NE(link, nullptr);
    LinkDriver driver(*link);
    client.Kill(SIGKILL);
    EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20'000));
    EXPECT_TRUE(driver.closed);
    EXPECT_TRUE(absl::IsUnavailable(link->status())) << link->status();
  });
}

TEST_F(FaultsTest, WithoutMemfdCreateTheServerSaysSoAndOtherKindsServe) {
  for (const int error : {ENOSYS, EPERM}) {
    InChild([error] {
      RefuseSystemCall(SYS_memfd_create, error);
      const absl::Status refused = TryListen("shm:faults");
      EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
      EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("memfd_create"), HasSubstr(strerror(error)), HasSubstr("segment=posix")));
      EXPECT_FALSE(TryListen("shm:faults?wake=sem").ok());
      for (const std::string_view choice : {"segment=posix", "segment=sysv", "segment=posix&wake=sem"}) ExpectCarries(Cat("shm:faults?", choice));
    });
  }
}

TEST_F(FaultsTest, WithoutMemfdCreateAClientIsToldAndTheAutomaticChoiceGoesOn) {
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  const Child server([&] {
    const EpollEcho shm("shm:faults"), unix_("unix:faults");
    if (write(ready[1], "y", 1) != 1) return 1;
    for (;;) pause();
  });
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  InChild([] {
    RefuseSystemCall(SYS_memfd_create, ENOSYS);
    const absl::Status refused = TryConnect("shm:faults").status();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), HasSubstr("memfd_create"));
    std::vector<Refusal> passed_over;
    absl::StatusOr<std::unique_ptr<Link>> link = Connect(*ParseAddress("ipc:faults"), InMs(20'000), &passed_over);
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_THAT((*link)->description(), ::testing::StartsWith("unix:"));
    ASSERT_THAT(passed_over, SizeIs(1));
    EXPECT_THAT(passed_over[0].reason, HasSubstr("memfd_create"));
    ExpectCarries(**link);
  });
  close(ready[0]), close(ready[1]);
}

// ---- /dev/shm ----------------------------------------------------------------------------------

bool MountTmpfs(const std::string& where, const std::string& options) {
  return mount("tmpfs", where.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) == 0;
}

TEST_F(FaultsTest, AFullDevShmIsAnErrorAndNoSignal) {
  EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWNS, [] {
    ASSERT_TRUE(MountTmpfs("/dev/shm", "size=16k,mode=1777"));
    const absl::Status too_small = MakeMemory(*PartsOf(*ParseAddress("shm:faults?segment=posix")), 1 << 16, Sharing::kPeerReads).status();
    EXPECT_TRUE(absl::IsResourceExhausted(too_small)) << too_small;
    EXPECT_THAT(MessageOf(too_small), AllOf(HasSubstr("/dev/shm"), HasSubstr("segment=posix")));
    // Enough for a server to begin, not for a connection.
    EpollEcho echo("shm:faults?segment=posix");
    const absl::Status refused = TryConnect("shm:faults?segment=posix").status();
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    const absl::Status by_server = TryConnect("shm:faults").status();
    EXPECT_TRUE(absl::IsResourceExhausted(by_server)) << by_server;
    EXPECT_THAT(MessageOf(by_server), AllOf(HasSubstr("the server refused"), HasSubstr("/dev/shm")));
    EXPECT_THAT(KernelObjects(), ::testing::Not(Contains(HasSubstr("/dev/shm/"))));
    // Full to the last page.
    ASSERT_EQ(umount2("/dev/shm", MNT_DETACH), 0);
    ASSERT_TRUE(MountTmpfs("/dev/shm", "size=4k,mode=1777"));
    const UniqueFd filler(open("/dev/shm/filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(posix_fallocate(filler.get(), 0, 4096), 0);
    EXPECT_TRUE(absl::IsResourceExhausted(TryListen("shm:another?segment=posix")));
    EXPECT_TRUE(absl::IsResourceExhausted(TryListen("shm:another?segment=posix&wake=sem")));
  });
}

TEST_F(FaultsTest, ADevShmThatFillsUpKeepsRingsSmallAndSaysSo) {
  EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWNS, [] {
    ASSERT_TRUE(MountTmpfs("/dev/shm", "size=160k,mode=1777"));  // two segments, and no larger ring
    const LogCapture log;
    ExpectCarries("shm:faults?segment=posix");
    EXPECT_THAT(log.messages, Contains(AllOf(HasSubstr("the ring stays at 65536 bytes"), HasSubstr("/dev/shm"))));
  });
}

TEST_F(FaultsTest, WithoutDevShmItIsSaid) {
  EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWNS, [] {
    ASSERT_EQ(mount("none", "/dev/shm", "tmpfs", MS_RDONLY, nullptr), 0);
    const absl::Status refused = TryListen("shm:faults?segment=posix");
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("/dev/shm"), HasSubstr(strerror(EROFS))));
  });
}

// ---- limits of System V IPC --------------------------------------------------------------------

TEST_F(FaultsTest, LimitsOfSystemVIpcAreNamed) {
  const auto with = [](const char* limit, const char* value, const char* choice, const char* named) {
    SCOPED_TRACE(Cat(limit, "=", value));
    const int result = RunInNamespaces(CLONE_NEWIPC, [=] {
      ASSERT_TRUE(WriteFile(Cat("/proc/sys/kernel/", limit), value));
      const absl::Status refused = TryListen(Cat("shm:faults?", choice));
      EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
      EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr(named), HasSubstr(choice)));
    });
    EXPECT_EQ(result, 0);
  };
  if (RunInNamespaces(CLONE_NEWIPC, [] {}) == kNoNamespaces) GTEST_SKIP() << "namespaces are not allowed here";
  with("shmmni", "0", "segment=sysv", "kernel.shmmni");
  with("shmall", "0", "segment=sysv", "kernel.shmall");
  with("shmmax", "100", "segment=sysv", "kernel.shmmax");
  with("sem", "32000 1024000000 500 0", "wake=sysvsem", "kernel.sem");
}

TEST_F(FaultsTest, ConnectionsBeyondALimitAreRefusedAndOthersGoOn) {
  EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWIPC, [] {
    ASSERT_TRUE(WriteFile("/proc/sys/kernel/shmmni", "3"));
    ASSERT_TRUE(WriteFile("/proc/sys/kernel/sem", "32000 1024000000 500 3"));
    for (const char* choice : {"segment=sysv", "wake=sysvsem"}) {
      SCOPED_TRACE(choice);
      const std::string address = Cat("shm:faults?ring=64K&", choice);
      EpollEcho echo(address);
      {
        absl::StatusOr<std::unique_ptr<Link>> first = TryConnect(address);
        ASSERT_TRUE(first.ok()) << first.status();
        const absl::Status second = TryConnect(address).status();
        EXPECT_TRUE(absl::IsResourceExhausted(second)) << second;
        ExpectCarries(**first);
      }
    }
  });
}

// ---- namespaces --------------------------------------------------------------------------------

// A root of the file system that has nothing but the runtime directory and its own /proc and /dev/shm.
bool EnterEmptyRoot(const std::string& directory, const std::string& root) {
  const std::string inside = root + directory;
  std::error_code ignored;
  if (!MountTmpfs(root, "mode=0755")) return false;
  for (const std::string& path : {inside, root + "/proc", root + "/dev/shm"}) std::filesystem::create_directories(path, ignored);
  return mount(directory.c_str(), inside.c_str(), nullptr, MS_BIND, nullptr) == 0 && MountTmpfs(root + "/dev/shm", "mode=1777") &&
         mount("proc", (root + "/proc").c_str(), "proc", 0, nullptr) == 0 && chroot(root.c_str()) == 0 && chdir("/") == 0;
}

TEST_F(FaultsTest, OtherMountAndPidNamespacesJoinedByTheSocketAlone) {
  char root[] = "/tmp/ipcrpc-root-XXXXXX";
  ASSERT_NE(mkdtemp(root), nullptr);
  for (const std::string_view segment : kSegmentChoices) {
    for (const std::string_view wake : kWakeChoices) {
      const std::string address = Cat("shm:faults?segment=", segment, "&wake=", wake);
      SCOPED_TRACE(address);
      int ready[2], go_on[2];
      ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
      ASSERT_EQ(pipe2(go_on, O_CLOEXEC), 0);
      Child server([&] {
        close(go_on[1]);
        return RunInNamespaces(CLONE_NEWNS | CLONE_NEWPID, [&] {
          ASSERT_TRUE(EnterEmptyRoot(directory_.path(), root));
          EpollEcho echo(address);
          ASSERT_EQ(write(ready[1], "y", 1), 1);
          char byte;
          EXPECT_EQ(read(go_on[0], &byte, 1), 0);
        });
      });
      close(ready[1]), close(go_on[0]);
      char byte;
      const bool serving = read(ready[0], &byte, 1) == 1;
      close(ready[0]);
      if (serving) {
        absl::StatusOr<std::unique_ptr<Link>> link = TryConnect(address);
        EXPECT_TRUE(link.ok()) << link.status();
        if (link.ok()) ExpectCarries(**link);
      }
      close(go_on[1]);
      EXPECT_EQ(server.Wait(), 0);
    }
  }
  rmdir(root);
}

TEST_F(FaultsTest, AClientOutsideOfThePidNamespaceHasNoPidButAUid) {
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  Child server([&] {
    return RunInNamespaces(CLONE_NEWNS | CLONE_NEWPID, [&] {
      EXPECT_EQ(getpid(), 1);
      LinkHost host("shm:faults?wake=sem");
      ASSERT_EQ(write(ready[1], "y", 1), 1);
      const std::unique_ptr<Link> link = host.Accept();
      ASSERT_NE(link, nullptr);
      EXPECT_EQ(link->peer().pid, 0);
      EXPECT_TRUE(link->peer().vouched);
      EXPECT_EQ(PlayRole("echo", *link, -1), 0);
    });
  });
  close(ready[1]);
  char byte;
  const bool serving = read(ready[0], &byte, 1) == 1;
  close(ready[0]);
  ASSERT_TRUE(serving);
  ExpectCarries(**TryConnect("shm:faults?wake=sem"));
  EXPECT_EQ(server.Wait(), 0);
}

TEST_F(FaultsTest, AnotherIpcNamespaceIsNamedWhereItMatters) {
  for (const char* choice : {"segment=sysv", "wake=sysvsem"}) {
    SCOPED_TRACE(choice);
    const std::string address = Cat("shm:faults?", choice);
    int ready[2];
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    const Child server([&] {
      if (!EnterNamespaces(CLONE_NEWIPC)) return kNoNamespaces;
      EpollEcho echo(address);
      if (write(ready[1], "y", 1) != 1) return 1;
      for (;;) pause();
    });
    close(ready[1]);
    char byte;
    const bool serving = read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    ASSERT_TRUE(serving);
    // In a namespace that is as new, so that the numbers are the same, and with something of one's own under them.
    EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWIPC, [&] {
      const Parts own = *PartsOf(*ParseAddress(address));
      const absl::StatusOr<OwnMemory> memory = MakeMemory(own, SegmentBytes(kMinRingBytes), Sharing::kPeerReads);
      const absl::StatusOr<OwnBell> bell = MakeBell(own);
      for (const std::string& client : {address, std::string("shm:faults")}) {
        const absl::Status refused = TryConnect(client).status();
        EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
        EXPECT_THAT(MessageOf(refused), HasSubstr("IPC namespace"));
      }
    });
  }
}

// ---- death -------------------------------------------------------------------------------------

// Everything that names something that stays.
const std::vector<std::string> kNamedChoices = {"segment=posix", "segment=sysv", "wake=sysvsem", "segment=posix&wake=sem",
                                                "segment=sysv&wake=sysvsem"};

// Killed at the first of these system calls, and so between any two steps of making the parts.
TEST_F(FaultsTest, WhateverStepAProcessDiesAtTheNextOneSweeps) {
  EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWNS | CLONE_NEWIPC, [this] {
    ASSERT_TRUE(MountTmpfs("/dev/shm", "mode=1777"));
    int died = 0;
    size_t most = 0;
    for (const std::string& choice : kNamedChoices) {
      for (const long call : {SYS_pwrite64, SYS_unlink, SYS_fallocate, SYS_mmap, SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semctl,
                              SYS_unlinkat, SYS_fchmod}) {
        SCOPED_TRACE(Cat(choice, " call ", call));
        Child victim([&] {
          const absl::StatusOr<Parts> parts = PartsOf(*ParseAddress(Cat("shm:faults?", choice)));
          DieAtSystemCall(call);
          const absl::StatusOr<OwnMemory> memory = MakeMemory(*parts, SegmentBytes(kMinRingBytes), Sharing::kPeerReads);
          const absl::StatusOr<OwnBell> bell = MakeBell(*parts);
          return 0;
        });
        if (victim.Wait() == -SIGSYS) ++died;
        most = std::max(most, KernelObjects().size());
        { LinkHost next("shm:faults"); }
        EXPECT_THAT(KernelObjects(), IsEmpty());
        EXPECT_TRUE(directory_.empty()) << ::testing::PrintToString(EntriesOf(directory_.path()));
      }
    }
    EXPECT_GE(died, 15) << "the calls are not those that it makes";
    EXPECT_GE(most, 1u) << "nobody left anything";
  });
}

TEST_F(FaultsTest, KilledAtAnyMomentNothingStaysBehind) {
  EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWNS | CLONE_NEWIPC, [this] {
    ASSERT_TRUE(MountTmpfs("/dev/shm", "mode=1777"));
    std::mt19937 random(4);
    int left = 0;
    for (int round = 0; round < 60; ++round) {
      const std::string address = Cat("shm:faults?", kNamedChoices[static_cast<size_t>(round) % kNamedChoices.size()]);
      SCOPED_TRACE(address);
      Child server([&]() -> int {
        const EpollEcho echo(address);
        for (;;) pause();
      });
      Child client([&] {
        for (;;) {
          absl::StatusOr<std::unique_ptr<Link>> link = TryConnect(address);
          if (!link.ok()) continue;
          LinkDriver driver(**link);
          for (uint64_t i = 0; i < 20 && driver.Send(MakeFrame(2, i, 9000)); ++i) driver.Poll();
        }
        return 0;
      });
      const timespec while_it_runs = {.tv_sec = 0, .tv_nsec = static_cast<long>(random() % 30'000'000)};
      nanosleep(&while_it_runs, nullptr);
      Child& first = random() % 2 == 0 ? server : client;
      Child& second = &first == &server ? client : server;
      first.Kill(SIGKILL);
      if (random() % 2 == 0) first.Wait();
      second.Kill(SIGKILL);
      if (second.pid() != 0) second.Wait();
      if (first.pid() != 0) first.Wait();
      if (!KernelObjects().empty()) ++left;
      { LinkHost next("shm:faults"); }
      EXPECT_THAT(KernelObjects(), IsEmpty());
      EXPECT_TRUE(directory_.empty()) << ::testing::PrintToString(EntriesOf(directory_.path()));
    }
    EXPECT_GT(left, 0) << "nobody left anything, so nothing was shown";
  });
}

TEST_F(FaultsTest, ASurvivorRemovesWhatItsPeerLeft) {
  EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWIPC, [] {
    int ready[2];
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    Child server([&] {
      LinkHost host("shm:faults?wake=sysvsem");
      if (write(ready[1], "y", 1) != 1) return 1;
      const std::unique_ptr<Link> link = host.Accept();
      for (;;) pause();
    });
    char byte;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    std::unique_ptr<Link> link = *TryConnect("shm:faults?wake=sysvsem");
    server.Kill(SIGKILL);
    EXPECT_FALSE(LinkDriver(*link).DriveUntil([] { return false; }, 20'000));
    EXPECT_TRUE(absl::IsUnavailable(link->status()));
    EXPECT_THAT(KernelObjects(), Contains(HasSubstr("sem:")).Times(2));
    link.reset();
    EXPECT_THAT(KernelObjects(), ::testing::Not(Contains(HasSubstr("sem:"))));
  });
}

TEST_F(FaultsTest, TheDoctorListsAndCleansWhatTheDeadLeftAndNothingElse) {
  EXPECT_RIGHT_IN_NAMESPACES(CLONE_NEWNS | CLONE_NEWIPC, [this] {
    ASSERT_TRUE(MountTmpfs("/dev/shm", "mode=1777"));
    const std::vector<std::string> directories = {directory_.path()};
    const Parts living = *PartsOf(*ParseAddress("shm:faults?wake=sysvsem"));
    absl::StatusOr<OwnBell> ours = MakeBell(living);
    ASSERT_TRUE(ours.ok());
    Child([] {
      const Parts parts = *PartsOf(*ParseAddress("shm:faults?wake=sysvsem"));
      const absl::StatusOr<OwnBell> bell = MakeBell(parts);
      raise(SIGKILL);
      return 0;
    }).Wait();
    ASSERT_THAT(KernelObjects(), Contains(HasSubstr("sem:")).Times(2));

    const std::vector<LeftBehindBy> listed = ListLeftBehind(directories);
    ASSERT_THAT(listed, SizeIs(1));
    EXPECT_TRUE(listed[0].here);
    EXPECT_THAT(listed[0].what.Describe(), HasSubstr("System V semaphores with key 0x"));
    EXPECT_THAT(KernelObjects(), SizeIs(2)) << "listing removed something";

    // From another IPC namespace it is seen, and left.
    EXPECT_EQ(RunInNamespaces(CLONE_NEWIPC, [&] {
      EXPECT_THAT(ListLeftBehind(directories), SizeIs(1));
      EXPECT_FALSE(ListLeftBehind(directories)[0].here);
      EXPECT_THAT(CleanLeftBehind(directories), IsEmpty());
    }), 0);
    EXPECT_THAT(ListLeftBehind(directories), SizeIs(1));

    EXPECT_THAT(CleanLeftBehind(directories), SizeIs(1));
    EXPECT_THAT(ListLeftBehind(directories), IsEmpty());
    EXPECT_THAT(KernelObjects(), SizeIs(1)) << "the living's was taken, or the dead's not";
    EXPECT_TRUE(ours->bell->Wait(MonotonicNs()));
  });
}

TEST_F(FaultsTest, ALedgerOfNonsenseHarmsNobody) {
  const std::string base = directory_.path() + "/.owned-0123";
  std::ofstream(base + ".lock") << "pid 1\nstart 1\n";
  std::ofstream ledger(base + ".owned", std::ios::binary);
  ledger << "posix-memory ../../etc/passwd 5\nposix-memory ipcrpc.0123 1\nsysv-memory zz 1\nsysv-semaphores 0 1\n"
         << std::string(3000, '\0') << "\n\n\xff\xfe\nsysv-semaphores";
  ledger.close();
  EXPECT_THAT(ListLeftBehind({directory_.path()}), IsEmpty());
  EXPECT_THAT(CleanLeftBehind({directory_.path()}), IsEmpty());
  EXPECT_TRUE(directory_.empty());
}

}  // namespace
}  // namespace ipcrpc::shm
