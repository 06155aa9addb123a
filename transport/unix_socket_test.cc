// Names and sockets on disk, with real processes that own them and die.
#include "transport/address_parameters.h"
#include "transport/unix_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/clock.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr UnixSocketKind kStream{SOCK_STREAM, "sock"};
constexpr UnixSocketKind kControl{SOCK_SEQPACKET, "shm"};

int64_t In(int64_t ms) { return MonotonicNs() + ms * 1'000'000; }

absl::StatusOr<std::unique_ptr<UnixListenSocket>> Bind(std::string_view address,
                                                       UnixSocketKind kind = kStream) {
  return UnixListenSocket::Bind(*ParseAddress(address), kind);
}

absl::StatusOr<UnixConnection> Dial(std::string_view address, UnixSocketKind kind = kStream,
                                    int64_t ms = 5000) {
  return ConnectUnixSocket(*ParseAddress(address), kind, In(ms));
}

// A forked process that runs `body` and then waits to be killed.
class Child {
 public:
  template <typename Body>
  explicit Child(Body body) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) != 0) abort();
    pid_ = fork();
    if (pid_ == 0) {
      const char ok = body() ? 'y' : 'n';
      if (write(ready[1], &ok, 1) != 1) _exit(1);
      while (true) pause();
    }
    close(ready[1]);
    char ok = 0;
    ready_ = read(ready[0], &ok, 1) == 1 && ok == 'y';
    close(ready[0]);
  }
  ~Child() { Kill(); }
  void Kill() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }
  bool ready() const { return ready_; }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  bool ready_ = false;
};

class UnixSocketTest : public ::testing::Test {
 protected:
  // Abstract names belong to the whole machine, and another run of this test may be under way.
  std::string Abstract(std::string_view what) const {
    return Cat("unix:@", std::filesystem::path(directory_.path()).filename().string(), what);
  }

  TempRuntimeDir directory_;
};

TEST_F(UnixSocketTest, ConnectsByNameAndTellsWhoIsThere) {
  auto listener = Bind("unix:mon");
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ((*listener)->place(), directory_.path() + "/mon.sock");
  auto connection = Dial("unix:mon");
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(connection->peer.pid, getpid());
  EXPECT_EQ(connection->peer.uid, geteuid());
  EXPECT_TRUE(connection->peer.vouched);
  auto accepted = (*listener)->Accept();
  ASSERT_TRUE(accepted.ok() && accepted->valid());
  EXPECT_EQ(PeerOfUnixSocket(accepted->get())->pid, getpid());
  EXPECT_FALSE((*listener)->Accept()->valid());
}

TEST_F(UnixSocketTest, LeavesNothingByName) {
  {
    auto listener = Bind("unix:mon");
    auto beside = Bind("shm:mon", kControl);
    ASSERT_TRUE(listener.ok() && beside.ok()) << listener.status() << beside.status();
    EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/mon.lock"));
    listener->reset();
    EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/mon.lock"));
  }
  EXPECT_TRUE(directory_.empty());
}

TEST_F(UnixSocketTest, ModeIsPrivateUnlessAsked) {
  struct stat info;
  {
    auto listener = Bind("unix:mon");
    ASSERT_EQ(stat((*listener)->place().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
  auto listener = Bind(Cat("unix:mon?mode=0666&group=", getegid()));
  ASSERT_TRUE(listener.ok()) << listener.status();
  ASSERT_EQ(stat((*listener)->place().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0666u);
  EXPECT_THAT(MessageOf(Bind("unix:x?mode=rw").status()), HasSubstr("octal"));
  EXPECT_THAT(MessageOf(Bind("unix:x?mode=1777").status()), HasSubstr("octal"));
  EXPECT_THAT(MessageOf(Bind("unix:x?group=no-such-group").status()), HasSubstr("no-such-group"));
}

TEST_F(UnixSocketTest, RefusesALivingName) {
  Child owner([] {
    static auto listener = Bind("unix:mon");
    return listener.ok();
  });
  ASSERT_TRUE(owner.ready());
  for (auto refused : {Bind("unix:mon").status(), Bind("shm:mon", kControl).status()}) {
    EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_THAT(MessageOf(refused), HasSubstr(Cat("pid ", owner.pid())));
  }
  EXPECT_TRUE(Dial("unix:mon").ok());
}

TEST_F(UnixSocketTest, RefusesItsOwnNameTwice) {
  auto listener = Bind("unix:mon");
  auto again = Bind("unix:mon");
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(MessageOf(again.status()), HasSubstr(Cat("pid ", getpid())));
  EXPECT_TRUE(Dial("unix:mon").ok());
}

TEST_F(UnixSocketTest, TakesOverWhatAKilledProcessLeft) {
  for (const std::string& address : {std::string("unix:mon"), Abstract("left")}) {
    Child owner([&] {
      static auto listener = Bind(address);
      static auto control = Bind("shm:mon", kControl);
      return listener.ok();
    });
    ASSERT_TRUE(owner.ready());
    owner.Kill();
    auto listener = Bind(address);
    EXPECT_TRUE(listener.ok()) << listener.status();
    EXPECT_TRUE(Dial(address).ok());
  }
  ASSERT_TRUE(Bind("unix:another").ok());
  EXPECT_TRUE(directory_.empty());
}

TEST_F(UnixSocketTest, SweepsTheDeadAndSparesTheLiving) {
  Child living([] {
    static auto listener = Bind("unix:alive");
    return listener.ok();
  });
  {
    Child dead([] {
      static auto listener = Bind("unix:dead");
      static auto control = Bind("shm:dead", kControl);
      return listener.ok() && control.ok();
    });
    ASSERT_TRUE(living.ready() && dead.ready());
  }
  std::ofstream(directory_.path() + "/stranger.sock") << "not ours";
  EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/dead.sock"));
  auto other = Bind("unix:other");
  ASSERT_TRUE(other.ok()) << other.status();
  for (std::string_view gone : {"/dead.sock", "/dead.shm", "/dead.lock"}) {
    EXPECT_FALSE(std::filesystem::exists(Cat(directory_.path(), gone))) << gone;
  }
  EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/stranger.sock"));
  EXPECT_TRUE(Dial("unix:alive").ok());
}

TEST_F(UnixSocketTest, AForkedChildRemovesNothing) {
  auto listener = Bind("unix:mon");
  const pid_t pid = fork();
  if (pid == 0) {
    listener->reset();
    _exit(0);
  }
  waitpid(pid, nullptr, 0);
  EXPECT_TRUE(Dial("unix:mon").ok());
  EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/mon.lock"));
}

TEST_F(UnixSocketTest, LeavesFilesOfOthersAlone) {
  const std::string path = directory_.path() + "/file";
  std::ofstream(path) << "precious";
  auto refused = Bind("unix:" + path);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(MessageOf(refused.status()), HasSubstr("is not a socket"));
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(Bind("unix:/no/such/dir/x.sock").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(UnixSocketTest, ReachesLongPaths) {
  std::string path = directory_.path();
  for (int i = 0; i < 12; ++i) path += "/" + std::string(30, 'd');
  std::filesystem::create_directories(path);
  auto listener = Bind(Cat("unix:", path, "/a.sock"));
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(Dial(Cat("unix:", path, "/a.sock")).ok());
  EXPECT_THAT(MessageOf(Bind(Cat("unix:", path, "/", std::string(100, 'x'))).status()),
              HasSubstr("100 bytes"));
  listener->reset();
  EXPECT_TRUE(std::filesystem::is_empty(path));
}

TEST_F(UnixSocketTest, AbstractNamesHaveAnOwnerToo) {
  Child owner([this] {
    static auto listener = Bind(Abstract("owned"));
    return listener.ok();
  });
  auto refused = Bind(Abstract("owned"));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(MessageOf(refused.status()), HasSubstr(Cat("pid ", owner.pid())));
  EXPECT_THAT(MessageOf(Bind(Abstract("x?mode=0666")).status()), HasSubstr("no permissions"));
}

TEST_F(UnixSocketTest, ErrorsListEveryPlace) {
  const auto missing = Dial("unix:nobody").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(missing), AllOf(HasSubstr(directory_.path() + "/nobody.sock does not exist"),
                                        HasSubstr("/run/ipcrpc/nobody.sock does not exist")));
  auto control = Bind("shm:mon", kControl);
  std::filesystem::create_symlink("mon.shm", directory_.path() + "/mon.sock");
  EXPECT_EQ(Dial("unix:mon").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(UnixSocketTest, AStaleSocketIsNobody) {
  {
    Child owner([] {
      static auto listener = Bind("unix:mon");
      return listener.ok();
    });
  }
  const auto stale = Dial("unix:mon").status();
  EXPECT_EQ(stale.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MessageOf(stale), HasSubstr("its server is gone"));
}

TEST_F(UnixSocketTest, BelievesRootItselfAndWhomItIsTold) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
  const std::string address = Cat("unix:", directory_.path(), "/other.sock");
  Child owner([&] {
    static absl::StatusOr<std::unique_ptr<UnixListenSocket>> listener = absl::UnknownError("");
    if (setresgid(1234, 1234, 1234) != 0 || setresuid(1234, 1234, 1234) != 0) return false;
    listener = Bind(address + "?mode=0666");
    return listener.ok();
  });
  ASSERT_TRUE(owner.ready());
  const auto refused = Dial(address).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("uid 1234"), HasSubstr("?uid=")));
  EXPECT_TRUE(Dial(address + "?uid=1234").ok());
  EXPECT_EQ(Dial(address + "?uid=no-such-user").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(UnixSocketTest, NeverBelievesTheOverflowUid) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
  const std::string address = Cat("unix:", directory_.path(), "/nobody.sock");
  Child owner([&] {
    static absl::StatusOr<std::unique_ptr<UnixListenSocket>> listener = absl::UnknownError("");
    if (setresuid(65534, 65534, 65534) != 0) return false;
    listener = Bind(address + "?mode=0666");
    return listener.ok();
  });
  ASSERT_TRUE(owner.ready());
  EXPECT_EQ(Dial(address + "?uid=65534").status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(UnixSocketTest, NonRootWithoutARuntimeDirectoryIsToldWhatToDo) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  Child user([] {
    unsetenv("IPCRPC_RUNTIME_DIR");
    unsetenv("XDG_RUNTIME_DIR");
    if (setresuid(1234, 1234, 1234) != 0) return false;
    const auto refused = Bind("unix:mon").status();
    const std::string_view message = MessageOf(refused);
    return absl::IsFailedPrecondition(refused) && message.find("--runtime-dir") != message.npos &&
           message.find("RuntimeDirectory=") != message.npos;
  });
  EXPECT_TRUE(user.ready());
}

TEST_F(UnixSocketTest, RefusesADirectoryThatOthersMayWriteTo) {
  std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
  const auto refused = Bind("unix:mon").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(refused), HasSubstr("mode 0777"));
}

TEST_F(UnixSocketTest, MakesTheUsersDirectory) {
  const std::string base = directory_.path() + "/user";
  std::filesystem::create_directory(base);
  setenv("XDG_RUNTIME_DIR", base.c_str(), 1);
  setenv("IPCRPC_RUNTIME_DIR", (base + "/mine").c_str(), 1);
  EXPECT_EQ(*ServerDirectory(), base + "/mine");
  EXPECT_THAT(ClientDirectories(), ::testing::ElementsAre(base + "/mine", base + "/ipcrpc", "/run/ipcrpc"));
  unsetenv("XDG_RUNTIME_DIR");
  setenv("IPCRPC_RUNTIME_DIR", directory_.path().c_str(), 1);
}

TEST_F(UnixSocketTest, AFullBacklogEndsAtTheDeadline) {
  // A listener of our own making: a backlog of one.
  const std::string path = directory_.path() + "/full.sock";
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(listen(fd.get(), 0), 0);
  auto first = Dial("unix:" + path);
  ASSERT_TRUE(first.ok()) << first.status();
  const int64_t start = MonotonicNs();
  EXPECT_EQ(Dial("unix:" + path, kStream, 100).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(MonotonicNs() - start, 100'000'000);
  EXPECT_LT(MonotonicNs() - start, 3'000'000'000);
}

TEST_F(UnixSocketTest, OutOfDescriptorsRefusesInsteadOfSpinning) {
  auto listener = Bind("unix:mon");
  auto client = Dial("unix:mon");
  ASSERT_TRUE(client.ok());
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  UniqueFd lowest(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const rlimit tight = {.rlim_cur = static_cast<rlim_t>(lowest.get()), .rlim_max = before.rlim_max};
  lowest.reset();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  const auto refused = (*listener)->Accept().status();
  const auto after = (*listener)->Accept();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(after.ok() && !after->valid());
  pollfd hung = {.fd = client->fd.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&hung, 1, 1000), 1);
  EXPECT_TRUE(hung.revents & POLLHUP);
  auto next = Dial("unix:mon");
  ASSERT_TRUE(next.ok());
  EXPECT_TRUE((*listener)->Accept()->valid());
}

TEST_F(UnixSocketTest, ManyThreadsBindAndDropOneName) {
  std::atomic<int> bound = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        auto listener = Bind("unix:mon");
        if (listener.ok()) {
          bound.fetch_add(1);
        } else {
          EXPECT_TRUE(absl::IsAlreadyExists(listener.status())) << listener.status();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(bound.load(), 0);
  EXPECT_TRUE(directory_.empty());
}

TEST(CheckParametersTest, NamesTheNearest) {
  const auto wrong = CheckParameters(*ParseAddress("unix:a?mod=0600"), {"mode", "group", "uid"});
  EXPECT_THAT(MessageOf(wrong), AllOf(HasSubstr("no parameter 'mod'"), HasSubstr("did you mean 'mode'?")));
  EXPECT_TRUE(CheckParameters(*ParseAddress("unix:a?mode=0600"), {"mode"}).ok());
}

}  // namespace
}  // namespace ipcrpc
