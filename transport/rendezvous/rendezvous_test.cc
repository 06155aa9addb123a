// The rendezvous without credentials, over each of its mechanisms: limits, spoofed names, peers that cheat, and what
// the dead leave. In an IPC namespace of its own, so that every queue there is one of the test's.
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipcrpc/admin.h"
#include "transport/base/process.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/netlink/netlink_transport.h"
#include "transport/netlink/socket.h"
#include "transport/rendezvous/leftovers.h"
#include "transport/rendezvous/place.h"
#include "transport/scheme.h"
#include "transport/stream/framing.h"
#include "transport/testing/child.h"
#include "transport/testing/epoll_echo.h"
#include "transport/testing/ipc_namespace.h"
#include "transport/testing/link_driver.h"
#include "transport/testing/link_peer.h"
#include "transport/testing/refuse_system_call.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc::rendezvous {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Verdict = FrameSink::Verdict;

std::string queues_mount;  // of main()
constexpr rlim_t kDefaultQueueBytes = 819'200;
constexpr uid_t kStranger = 65533;

absl::StatusOr<std::unique_ptr<Link>> Dial(const std::string& address, int64_t ms = 10000) {
  return ipcrpc::Connect(*ParseAddress(address), InMs(ms));
}

// One round trip: the server at the other end echoes.
bool Echoes(Link& link, uint64_t seed = 1) {
  LinkDriver driver(link);
  const Bytes frame = MakeFrame(seed, 0, 300);
  bool right = false;
  driver.on_frame = [&](const Bytes& back) {
    right = back == frame;
    return Verdict::kConsumed;
  };
  return driver.Send(frame) && driver.DriveUntil([&] { return driver.frames == 1; }) && right;
}

// Echoes in this process, which has one thread, until it is killed.
[[noreturn]] void ServeForEver(Listener& listener) {
  struct Connection final : FrameSink {
    std::unique_ptr<Link> link;
    bool closed = false;
    Verdict OnFrame(std::span<const std::byte> frame, bool) override {
      std::byte* room = link->Reserve(static_cast<uint32_t>(frame.size()), Link::Class::kData);
      if (room == nullptr) return Verdict::kHold;
      std::memcpy(room, frame.data(), frame.size());
      link->Commit(static_cast<uint32_t>(frame.size()));
      link->Flush();
      return Verdict::kConsumed;
    }
    void OnSpace() override {}
  };
  std::vector<std::unique_ptr<Connection>> connections;
  while (true) {
    pollfd readable = {.fd = listener.fd(), .events = POLLIN, .revents = 0};
    poll(&readable, 1, 1);
    listener.OnReadable([&](std::unique_ptr<Link> link) {
      connections.push_back(std::make_unique<Connection>());
      connections.back()->link = std::move(link);
    });
    for (auto& connection : connections) {
      connection->closed = connection->link->Poll(*connection, 64) == Link::Progress::kClosed;
    }
    std::erase_if(connections, [](const auto& connection) { return connection->closed; });
  }
}

// A process that serves, from when the constructor returns. `before_asks` runs once it listens.
class ServerProcess {
 public:
  explicit ServerProcess(const std::string& address, uid_t uid = 0, void (*before_asks)() = [] {})
      : ready_(MakePipe()), child_([&] {
          if (uid != 0 && (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)) return 3;
          absl::StatusOr<std::unique_ptr<Listener>> listener = Listen(*ParseAddress(address));
          before_asks();
          const char ok = listener.ok() ? 'y' : 'n';
          if (!listener.ok()) fprintf(stderr, "%s\n", listener.status().ToString().c_str());
          if (write(ready_[1], &ok, 1) != 1 || !listener.ok()) return 4;
          ServeForEver(**listener);
        }) {
    close(ready_[1]);
    char ok = 'n';
    up_ = read(ready_[0], &ok, 1) == 1 && ok == 'y';
    close(ready_[0]);
  }
  bool up() const { return up_; }
  pid_t pid() const { return child_.pid(); }
  void Kill() { child_.Kill(SIGKILL), child_.Wait(); }

 private:
  static std::array<int, 2> MakePipe() {
    std::array<int, 2> ends;
    if (pipe2(ends.data(), O_CLOEXEC) != 0) abort();
    return ends;
  }
  std::array<int, 2> ready_;
  Child child_;
  bool up_ = false;
};

// The client's side by hand, step by step.
class RawClient {
 public:
  RawClient(const Mechanism& mechanism, const std::string& address)
      : mechanism_(mechanism), place_(*FindPlace(mechanism, *ParseAddress(address))) {}

  // In a PID namespace that the server does not know the pid says nothing.
  void SendAsk(const Token& token, uid_t uid = geteuid(), uint64_t pid_namespace = 1) {
    token_ = token;
    Ask ask;
    ask.token = token;
    ask.uid = uid;
    ask.gid = getegid();
    ask.pid = getpid();
    ask.pid_namespace = pid_namespace;
    ask.check = CheckOf(ask);
    const auto place = mechanism_.OpenPlace(place_.path, place_.reference);
    ASSERT_TRUE(place.ok()) << place.status();
    ASSERT_EQ((*place)->Write(reinterpret_cast<const std::byte*>(&ask), sizeof ask), ssize_t{sizeof ask});
  }
  std::string stem() const { return StemOf(place_.base, token_); }
  // The welcome, when it is complete.
  Welcome Await() {
    Welcome welcome;
    const int64_t deadline = InMs(10000);
    while (MonotonicNs() < deadline) {
      file_.reset(open(stem().c_str(), O_RDONLY | O_CLOEXEC));
      if (file_.valid() && pread(file_.get(), &welcome, sizeof welcome, 0) == sizeof welcome && welcome.state != 0) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return welcome;
  }
  End Open(const Welcome& welcome) {
    TakeLife(file_.get(), Side::kClient);
    life_ = OpenLifeFifo(stem(), Side::kClient);
    return *mechanism_.OpenPair(stem(), token_, welcome);
  }
  void CloseLifeFifo() { life_.reset(); }
  static bool Prove(End& end, const Token& nonce) {
    Proof proof = end.proof;
    proof.nonce = nonce;
    return end.medium->Write(reinterpret_cast<const std::byte*>(&proof), sizeof proof) == sizeof proof;
  }
  // Waits for the end of what the server sends.
  static bool SeesTheEnd(End& end) {
    std::array<std::byte, 8192> buffer;
    const int64_t deadline = InMs(10000);
    while (MonotonicNs() < deadline) {
      const ssize_t got = end.medium->Read(buffer.data(), buffer.size());
      if (got == 0) return true;
      if (got < 0 && errno != EAGAIN) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

 private:
  const Mechanism& mechanism_;
  const FoundPlace place_;
  Token token_ = {};
  UniqueFd file_;
  UniqueFd life_;
};

// A runtime directory, at the end of which a sweep finds all that killed servers left.
class SweptTest : public ::testing::Test {
 protected:
  void TearDown() override {
    SweepDirectory(directory_.path());
    ExpectNoQueues();
  }
  void ExpectNoQueues() {
    EXPECT_THAT(PosixQueues(queues_mount), IsEmpty());
    EXPECT_EQ(SystemVQueues(), 0);
  }

  TempRuntimeDir directory_;
};

class Rendezvous : public SweptTest, public ::testing::WithParamInterface<const Mechanism*> {
 protected:
  const Mechanism& mechanism() const { return *GetParam(); }
  std::string address(std::string_view name = "met") const { return Cat(mechanism().scheme(), ":", name); }
  std::string place(std::string_view name = "met") const {
    return Cat(directory_.path(), "/", name, ".", mechanism().scheme());
  }
  void ExpectNothingLeft() {
    EXPECT_TRUE(directory_.empty()) << std::filesystem::directory_iterator(directory_.path())->path();
    ExpectNoQueues();
  }
};

class MqueueLimits : public SweptTest {};
class Refused : public SweptTest {};

TEST(AskReader, FindsAsksAmongWhatIsNone) {
  Ask asks[2];
  for (Ask& ask : asks) ask.token = RandomToken(), ask.check = CheckOf(ask);
  Bytes stream;
  const auto append = [&](const void* bytes, size_t size) {
    stream.insert(stream.end(), static_cast<const std::byte*>(bytes), static_cast<const std::byte*>(bytes) + size);
  };
  append("x", 1);
  append(&asks[0], 40);  // a beginning only
  append(&asks[0], sizeof(Ask));
  append(&Ask::kMagic, 4);
  append(&asks[1], sizeof(Ask));
  // In pieces of every size.
  for (size_t piece = 1; piece < stream.size(); ++piece) {
    AskReader reader;
    std::vector<Token> found;
    for (size_t at = 0; at < stream.size(); at += piece) {
      const size_t size = std::min(piece, stream.size() - at);
      std::memcpy(reader.Room().data(), stream.data() + at, size);
      reader.Filled(size);
      while (const std::optional<Ask> ask = reader.Next()) found.push_back(ask->token);
    }
    ASSERT_THAT(found, ::testing::ElementsAre(asks[0].token, asks[1].token)) << piece;
  }
}

// ---- limits ------------------------------------------------------------------------------------

TEST_P(Rendezvous, ThirtyTwoClientsFillTheirQueuesAtOnce) {
  constexpr int kClients = 32;
  {
    EpollEcho echo(address());
    std::vector<std::thread> clients;
    std::atomic<int> right = 0;
    for (uint64_t c = 0; c < kClients; ++c) {
      clients.emplace_back([&, c] {
        absl::StatusOr<std::unique_ptr<Link>> link = Dial(address(), 30000);
        ASSERT_TRUE(link.ok()) << link.status();
        LinkDriver driver(**link);
        constexpr int kFrames = 40;
        int sent = 0, back = 0;
        driver.on_frame = [&](const Bytes& frame) {
          EXPECT_EQ(frame, MakeFrame(c, static_cast<uint64_t>(back), frame.size()));
          ++back;
          return Verdict::kConsumed;
        };
        EXPECT_TRUE(driver.DriveUntil([&] {
          while (sent < kFrames && driver.TrySend(MakeFrame(c, static_cast<uint64_t>(sent), 12000))) ++sent;
          (*link)->Flush();
          return back == kFrames;
        }));
        // All stay until all have finished.
        ++right;
        const int64_t deadline = InMs(30000);
        while (right < kClients && MonotonicNs() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    }
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(right, kClients);
  }
  ExpectNothingLeft();
}

TEST_F(MqueueLimits, TheBytesOfAUserAreNamedWhenTheyAreSpentAndTheServerLivesOn) {
  EpollEcho echo("mqueue:met");
  std::vector<std::unique_ptr<Link>> links;
  absl::Status refused;
  while (refused.ok() && links.size() < 200) {
    absl::StatusOr<std::unique_ptr<Link>> link = Dial("mqueue:met");
    refused = link.status();
    if (link.ok()) links.push_back(*std::move(link));
  }
  EXPECT_GE(links.size(), 32u);
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("RLIMIT_MSGQUEUE"), HasSubstr("819200"), HasSubstr("ulimit -q")));
  for (auto& link : links) EXPECT_TRUE(Echoes(*link));
  links.pop_back();
  // The server has to see that one go first.
  absl::StatusOr<std::unique_ptr<Link>> next = absl::UnknownError("");
  const int64_t deadline = InMs(20000);
  while (!next.ok() && MonotonicNs() < deadline) next = Dial("mqueue:met");
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(Echoes(**next));
}

TEST_F(MqueueLimits, TheNumberOfQueuesIsNamed) {
  std::ifstream in("/proc/sys/fs/mqueue/queues_max");
  std::string before;
  in >> before;
  // Whoever may exceed limits of the system gives that up first.
  ServerProcess server("mqueue:met", 0, [] {
    __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[2] = {};
    syscall(SYS_capget, &header, data);
    data[0].effective &= ~(1u << CAP_SYS_RESOURCE);
    syscall(SYS_capset, &header, data);
  });
  std::ofstream("/proc/sys/fs/mqueue/queues_max") << 2;
  const absl::Status refused = Dial("mqueue:met").status();
  std::ofstream("/proc/sys/fs/mqueue/queues_max") << before;
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("fs.mqueue.queues_max"), HasSubstr("sysctl")));
  EXPECT_TRUE(Dial("mqueue:met").ok());
}

TEST_F(Refused, ASystemCallThatIsForbiddenIsSaidClearly) {
  struct Case {
    std::string address;
    int call;
    int error;
    absl::StatusCode code;
    std::string_view says;
  };
  const Case cases[] = {
      {"mqueue:met", SYS_mq_open, EPERM, absl::StatusCode::kPermissionDenied, "filter of system calls"},
      {"mqueue:met", SYS_mq_open, ENOSYS, absl::StatusCode::kFailedPrecondition, "no POSIX message queues"},
      {"sysvmq:met", SYS_msgget, EPERM, absl::StatusCode::kPermissionDenied, "filter of system calls"},
      {"sysvmq:met", SYS_msgget, ENOSYS, absl::StatusCode::kFailedPrecondition, "no System V message queues"},
      {"netlink:met", SYS_bind, EPERM, absl::StatusCode::kPermissionDenied, "filter of system calls"},
      {"fifo:met", SYS_mknodat, EPERM, absl::StatusCode::kPermissionDenied, "cannot make the FIFO"},
  };
  const auto as_it_should_be = [](const Case& c, const absl::Status& status) {
    const bool right = status.code() == c.code && MessageOf(status).find(c.says) != std::string_view::npos;
    if (!right) fprintf(stderr, "%s errno %d: %s\n", c.address.c_str(), c.error, status.ToString().c_str());
    return right;
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Child([&] {
                RefuseSystemCall(c.call, c.error);
                return as_it_should_be(c, Listen(*ParseAddress(c.address)).status()) ? 0 : 1;
              }).Wait(),
              0);
    EXPECT_TRUE(directory_.empty()) << c.address;
    if (c.call == SYS_mknodat) continue;  // a client makes no FIFO
    ServerProcess server(c.address);
    ASSERT_TRUE(server.up());
    EXPECT_EQ(Child([&] {
                RefuseSystemCall(c.call, c.error);
                return as_it_should_be(c, Dial(c.address).status()) ? 0 : 1;
              }).Wait(),
              0);
    EXPECT_TRUE(Dial(c.address).ok());
    server.Kill();
    { auto sweeps = Listen(*ParseAddress(c.address)); }
  }
}

TEST_F(Refused, AServerThatMayMakeNoQueuesTellsItsClients) {
  ServerProcess server("mqueue:met", 0, [] { RefuseSystemCall(SYS_mq_open, EPERM); });
  ASSERT_TRUE(server.up());
  for (int i = 0; i < 3; ++i) {
    const absl::Status refused = Dial("mqueue:met").status();
    EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), HasSubstr("refused by its server"));
  }
}

// ---- who is there ------------------------------------------------------------------------------

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

// ---- cheats ------------------------------------------------------------------------------------

TEST_P(Rendezvous, AnothersTokenOrAWrongNonceStopsNobody) {
  EpollEcho echo(address());
  RawClient honest(mechanism(), address()), thief(mechanism(), address());
  const Token token = RandomToken();
  honest.SendAsk(token);
  const Welcome welcome = honest.Await();
  ASSERT_EQ(welcome.state, Welcome::kReady);
  // The same token again: what is there stays as it is.
  thief.SendAsk(token, 1234);
  EXPECT_TRUE(Dial(address()).ok());
  EXPECT_EQ(honest.Await().nonce, welcome.nonce);
  End end = honest.Open(welcome);
  ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
  const auto is_gone = [&](const std::string& stem) {
    const int64_t deadline = InMs(10000);
    while (std::filesystem::exists(stem) && MonotonicNs() < deadline) std::this_thread::yield();
    return !std::filesystem::exists(stem);
  };
  if (!mechanism().names_stay()) {
    EXPECT_TRUE(is_gone(honest.stem()));
  }

  // A nonce that was another's.
  thief.SendAsk(RandomToken());
  const Welcome own = thief.Await();
  ASSERT_EQ(own.state, Welcome::kReady);
  End stolen = thief.Open(own);
  ASSERT_TRUE(RawClient::Prove(stolen, welcome.nonce));
  EXPECT_TRUE(RawClient::SeesTheEnd(stolen));
  EXPECT_TRUE(is_gone(thief.stem()));
  // Bytes that are no proof.
  thief.SendAsk(RandomToken());
  End garbage = thief.Open(thief.Await());
  const Bytes bytes = MakeFrame(1, 1, 200);
  garbage.medium->Write(bytes.data(), bytes.size());
  EXPECT_TRUE(RawClient::SeesTheEnd(garbage));

  absl::StatusOr<std::unique_ptr<Link>> link = Dial(address());
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(Echoes(**link));
}

TEST_P(Rendezvous, APeerThatClearsNonBlockingAndNeverReadsBlocksNobody) {
  LinkHost host(address());
  RawClient raw(mechanism(), address());
  raw.SendAsk(RandomToken());
  const Welcome welcome = raw.Await();
  End end = raw.Open(welcome);
  for (int fd : {end.medium->read_fd(), end.medium->write_fd()}) {
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0) FAIL() << strerror(errno);
  }
  ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  LinkDriver driver(*link);
  int sent = 0;
  while (driver.TrySend(MakeFrame(1, 1, 10000)) && sent < 1000) {
    link->Flush();  // a blocking write would end the test here
    driver.Poll();
    ++sent;
  }
  EXPECT_LT(sent, 1000) << "it is never full";
  link->Close(absl::CancelledError("enough"));
  EXPECT_TRUE(Dial(address()).ok());
}

using NetlinkPorts = SweptTest;

uint32_t PortOf(int fd) {
  sockaddr_nl address = {};
  socklen_t size = sizeof address;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 ? address.nl_pid : 0;
}

TEST_F(NetlinkPorts, WhatStrangersSendIsNotHeard) {
  LinkHost host("netlink:met");
  RawClient raw(NetlinkMechanism(), "netlink:met");
  raw.SendAsk(RandomToken());
  const Welcome welcome = raw.Await();
  ASSERT_EQ(welcome.state, Welcome::kReady);
  const auto spoil = [&] {
    const absl::StatusOr<netlink::Socket> socket = netlink::Socket::Make(0);
    int taken = 0;
    for (const uint32_t port : {welcome.numbers[0], welcome.numbers[1]}) {
      for (const netlink::Type type : {netlink::kData, netlink::kEnd, netlink::kTaken, netlink::kSpace}) {
        taken += socket->Send(port, type, "spoiled!", 8) == 0;
      }
    }
    return taken;
  };
  // Before the proof anybody can send, and is heard by nobody.
  EXPECT_EQ(Child([&] {
              if (setresgid(kStranger, kStranger, kStranger) != 0 || setresuid(kStranger, kStranger, kStranger) != 0) return -1;
              return spoil();
            }).Wait(),
            8);
  End end = raw.Open(welcome);
  ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  // After it the kernel lets nobody.
  EXPECT_EQ(spoil(), 0);
  LinkDriver driver(*link);
  ASSERT_TRUE(driver.Send(MakeFrame(1, 1, 300)));
  EXPECT_EQ(driver.Poll(), Link::Progress::kIdle);
  std::array<std::byte, 8192> buffer;
  EXPECT_GT(end.medium->Read(buffer.data(), buffer.size()), 300);
}

TEST_F(NetlinkPorts, WhoGetsThePortOfADeadPeerIsNotTakenForIt) {
  LinkHost host("netlink:met");
  int ports[2];
  ASSERT_EQ(pipe2(ports, O_CLOEXEC), 0);
  const UniqueFd ours(ports[0]), theirs(ports[1]);
  Child client([&] {
    RawClient raw(NetlinkMechanism(), "netlink:met");
    raw.SendAsk(RandomToken());
    const Welcome welcome = raw.Await();
    End end = raw.Open(welcome);
    if (!RawClient::Prove(end, welcome.nonce)) return 1;
    const uint32_t both[] = {PortOf(end.medium->read_fd()), welcome.numbers[0]};
    if (write(theirs.get(), both, sizeof both) != sizeof both) return 2;
    pause();
    return 3;
  });
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  uint32_t both[2];
  ASSERT_EQ(read(ours.get(), both, sizeof both), ssize_t{sizeof both});
  client.Kill(SIGKILL);
  EXPECT_EQ(client.Wait(), -SIGKILL);
  const absl::StatusOr<netlink::Socket> thief = netlink::Socket::Make(0, both[0]);
  ASSERT_TRUE(thief.ok()) << thief.status();
  Bytes bytes(stream::kPreambleBytes + stream::WireBytes(4));
  std::memcpy(bytes.data(), stream::kMagic.data(), stream::kMagic.size());
  bytes[4] = std::byte{stream::kVersion};
  bytes[8] = std::byte{4};
  ASSERT_EQ(thief->Send(both[1], netlink::kData, bytes.data(), bytes.size()), 0);
  LinkDriver driver(*link);
  driver.on_frame = [](const Bytes&) { return Verdict::kConsumed; };
  EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(driver.closed);
  EXPECT_EQ(driver.frames, 0);
  EXPECT_TRUE(absl::IsUnavailable(link->status())) << link->status();
}

TEST_F(NetlinkPorts, APeerThatLiesAboutWhatItHasReadGetsNoMoreThanItsBufferHolds) {
  LinkHost host("netlink:met");
  RawClient raw(NetlinkMechanism(), "netlink:met");
  raw.SendAsk(RandomToken());
  const Welcome welcome = raw.Await();
  End end = raw.Open(welcome);
  ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  const auto say = [&](uint64_t taken) {
    struct {
      nlmsghdr header;
      uint64_t taken;
    } message = {.header = {.nlmsg_len = sizeof message, .nlmsg_type = netlink::kTaken, .nlmsg_flags = 0, .nlmsg_seq = 0, .nlmsg_pid = 0},
                 .taken = taken};
    sockaddr_nl to = {};
    to.nl_family = AF_NETLINK;
    to.nl_pid = welcome.numbers[1];
    sendto(end.medium->read_fd(), &message, sizeof message, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  };
  LinkDriver driver(*link);
  say(std::numeric_limits<uint64_t>::max());  // more than was sent: not believed
  int sent = 0;
  while (driver.TrySend(MakeFrame(1, 1, 10000)) && sent < 1000) link->Flush(), ++sent;
  EXPECT_LT(sent, 1000) << "it is never full";
  EXPECT_FALSE(driver.closed);
  // Believed, but not read: the kernel takes no more, and that is its end.
  const int64_t deadline = InMs(10000);
  for (uint64_t taken = 1; !driver.closed && MonotonicNs() < deadline; ++taken) {
    say(taken);
    driver.Poll();
  }
  EXPECT_TRUE(driver.closed);
  EXPECT_TRUE(Dial("netlink:met").ok());
}

TEST_F(NetlinkPorts, AnotherNetworkNamespaceIsSaidClearly) {
  ServerProcess server("netlink:met");
  ASSERT_TRUE(server.up());
  EXPECT_EQ(Child([&] {
              if (unshare(CLONE_NEWNET) != 0) return 2;
              const absl::Status status = Dial("netlink:met").status();
              return absl::IsFailedPrecondition(status) && MessageOf(status).find("network namespace") != std::string_view::npos ? 0 : 1;
            }).Wait(),
            0);
  EXPECT_TRUE(Dial("netlink:met").ok());
}

// ---- the dead ----------------------------------------------------------------------------------

// Not under ThreadSanitizer: there a forked child of a program with threads cannot start any.
#if !defined(__SANITIZE_THREAD__)
TEST_P(Rendezvous, KilledClientsLeaveNothing) {
  {
    EpollEcho echo(address());
    for (int round = 0; round < 10; ++round) {
      Child during([&] {
        RawClient raw(mechanism(), address());
        raw.SendAsk(RandomToken());
        if (round % 2 == 0) return 0;
        raw.Open(raw.Await());
        raise(SIGKILL);
        return 1;
      });
      during.Wait();
      Child traffic([&] {
        absl::StatusOr<std::unique_ptr<Link>> link = Dial(address());
        if (!link.ok() || !Echoes(**link)) return 1;
        LinkDriver driver(**link);
        for (int i = 0; i < 20; ++i) driver.TrySend(MakeFrame(2, 1, 10000));
        (*link)->Flush();
        raise(SIGKILL);
        return 1;
      });
      EXPECT_EQ(traffic.Wait(), -SIGKILL);
    }
  }
  ExpectNothingLeft();
}
#endif

TEST_P(Rendezvous, TheNextStartSweepsWhatAKilledServerLeftAndSparesTheLiving) {
  ServerProcess living(address("living"));
  ServerProcess dead(address("dead"));
  const pid_t dead_pid = dead.pid();
  ASSERT_TRUE(living.up() && dead.up());
  absl::StatusOr<std::unique_ptr<Link>> used = Dial(address("living"));
  ASSERT_TRUE(used.ok()) << used.status();
  {
    Child client([&] {  // dies with the server, in the middle of everything
      absl::StatusOr<std::unique_ptr<Link>> link = Dial(address("dead"));
      if (!link.ok() || !Echoes(**link)) return 1;
      RawClient raw(mechanism(), address("dead"));
      raw.SendAsk(RandomToken());
      raw.Open(raw.Await());
      kill(dead.pid(), SIGKILL);
      raise(SIGKILL);
      return 1;
    });
    EXPECT_EQ(client.Wait(), -SIGKILL);
  }
  dead.Kill();
  // The doctor sees what there is to sweep, and only that.
  std::vector<std::string> kinds;
  for (const admin::LeftOver& thing : admin::FindLeftOvers({directory_.path()})) {
    kinds.push_back(thing.kind);
    EXPECT_THAT(thing.name, HasSubstr(directory_.path() + "/dead"));
    EXPECT_EQ(thing.pid, dead_pid);
    EXPECT_FALSE(thing.why.empty());
  }
  EXPECT_THAT(kinds, AllOf(::testing::Contains("lock"), ::testing::Contains(std::string(mechanism().scheme())),
                           ::testing::Contains("pair")));
  EXPECT_TRUE(std::filesystem::exists(place("dead")));
  EXPECT_TRUE(absl::IsUnavailable(Dial(address("dead")).status()));
  {
    auto other = Listen(*ParseAddress(address("other")));
    ASSERT_TRUE(other.ok()) << other.status();
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      EXPECT_FALSE(entry.path().filename().string().starts_with("dead")) << entry.path();
    }
  }
  EXPECT_TRUE(Echoes(**used));
  used->reset();
  living.Kill();
  { auto again = Listen(*ParseAddress(address("living"))); }
  ExpectNothingLeft();
}

TEST_P(Rendezvous, TheDoctorCleans) {
  ServerProcess living(address("living"));
  ServerProcess dead(address("dead"));
  ASSERT_TRUE(living.up() && dead.up());
  EXPECT_THAT(admin::FindLeftOvers({directory_.path()}), IsEmpty());
  dead.Kill();
  EXPECT_EQ(admin::CleanLeftOvers({directory_.path()}).size(), 2u);  // lock and place
  EXPECT_THAT(admin::FindLeftOvers({directory_.path()}), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(place("dead")));
  EXPECT_TRUE(Dial(address("living")).ok());
}

// Whoever watches hangup() may tell of the death before the last bytes are read, which are no whole frame.
TEST_P(Rendezvous, OfAPeerKnownToBeDeadTheRestIsReadAtOnceToTheEnd) {
  LinkHost host(address());
  Child client([&] {
    RawClient raw(mechanism(), address());
    raw.SendAsk(RandomToken());
    const Welcome welcome = raw.Await();
    End end = raw.Open(welcome);
    if (!RawClient::Prove(end, welcome.nonce)) return 1;
    Bytes bytes(stream::kPreambleBytes + stream::kLengthBytes + 100);
    std::memcpy(bytes.data(), stream::kMagic.data(), stream::kMagic.size());
    bytes[4] = std::byte{stream::kVersion};
    bytes[8] = std::byte{200};  // of which half is there
    if (end.medium->Write(bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) return 2;
    raise(SIGKILL);
    return 3;
  });
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(client.Wait(), -SIGKILL);
  link->NotePeerGone();
  link->Wait(InMs(20000));  // is ended by that; nothing ends the next one
  struct : FrameSink {
    Verdict OnFrame(std::span<const std::byte>, bool) override { return Verdict::kConsumed; }
    void OnSpace() override {}
  } sink;
  const int64_t deadline = InMs(20000);
  while (link->Poll(sink, 64) != Link::Progress::kClosed && MonotonicNs() < deadline) link->Wait(deadline);
  EXPECT_LT(MonotonicNs(), deadline);
  EXPECT_TRUE(absl::IsUnavailable(link->status())) << link->status();
  EXPECT_THAT(MessageOf(link->status()), HasSubstr("in the middle of a frame"));
}

// A process that dies closes one thing after the other.
TEST_P(Rendezvous, OfAClientThatHasClosedItsLifeFifoButNotYetItsFilesNothingStays) {
  {
    LinkHost host(address());
    RawClient raw(mechanism(), address());
    raw.SendAsk(RandomToken());
    const Welcome welcome = raw.Await();
    End end = raw.Open(welcome);
    ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
    const std::unique_ptr<Link> link = host.Accept();
    ASSERT_NE(link, nullptr);
    raw.CloseLifeFifo();
    end.medium.reset();
    LinkDriver driver(*link);
    EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
    EXPECT_TRUE(driver.closed);
    EXPECT_FALSE(std::filesystem::exists(raw.stem()));
  }
  ExpectNothingLeft();
}

TEST_P(Rendezvous, AClientLearnsAtOnceThatNobodyWillAnswerIt) {
  ServerProcess server(address());
  ASSERT_TRUE(server.up());
  ASSERT_EQ(kill(server.pid(), SIGSTOP), 0);
  Child client([&] {
    const absl::Status status = Dial(address()).status();
    if (!absl::IsUnavailable(status)) fprintf(stderr, "%s\n", status.ToString().c_str());
    return absl::IsUnavailable(status) ? 0 : 1;
  });
  // It sleeps only while it waits for the answer.
  const auto asleep = [&] {
    std::ifstream in(Cat("/proc/", client.pid(), "/syscall"));
    long call = -1;
    return in >> call && call == SYS_clock_nanosleep;
  };
  const int64_t deadline = InMs(10000);
  while (!asleep() && MonotonicNs() < deadline) std::this_thread::yield();
  const int64_t killed = MonotonicNs();
  server.Kill();
  EXPECT_EQ(client.Wait(), 0);
  EXPECT_LT(MonotonicNs() - killed, 3'000'000'000) << "it waited for its handshake's time to pass";
}

TEST_P(Rendezvous, AServerThatHasClosedItsLifeFifoButNotYetItsFilesIsGone) {
  if (!mechanism().wants_watch()) return;  // its FIFOs tell by themselves
  const std::string reference = mechanism().NewReference("met");
  UniqueFd file(open(place().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const std::string line = ReferenceLine(mechanism(), reference);
  ASSERT_TRUE(TakeLife(file.get(), Side::kServer));
  ASSERT_EQ(write(file.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
  const auto medium = mechanism().MakePlace(place(), reference, Access{});
  ASSERT_TRUE(medium.ok()) << medium.status();
  absl::Status status;
  std::thread client([&] { status = Dial(address()).status(); });

  AskReader asks;
  std::optional<Ask> ask;
  const int64_t deadline = InMs(10000);
  while (!ask && MonotonicNs() < deadline) {
    const ssize_t got = (*medium)->Read(asks.Room().data(), asks.Room().size());
    if (got > 0) asks.Filled(static_cast<size_t>(got));
    ask = asks.Next();
  }
  ASSERT_TRUE(ask);
  const std::string stem = StemOf(Cat(directory_.path(), "/met"), ask->token);
  UniqueFd pair_file(open(stem.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  TakeLife(pair_file.get(), Side::kServer);
  absl::StatusOr<End> end = mechanism().MakePair(stem, ask->token, Access{});
  MakeLifeFifo(stem, Access{}).reset();
  Welcome welcome = end->welcome;
  welcome.kind = static_cast<uint32_t>(mechanism().kind());
  welcome.state = Welcome::kReady;
  EXPECT_EQ(pwrite(pair_file.get(), &welcome, sizeof welcome, 0), ssize_t{sizeof welcome});
  client.join();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(MessageOf(status), HasSubstr("its server went"));
  end->medium->Hangup();
  RemovePairNames(&mechanism(), stem, ask->token, geteuid());
  unlink(stem.c_str());
  mechanism().RemovePlace(place(), reference, geteuid());
  unlink(place().c_str());
}

TEST_P(Rendezvous, DeathIsSeenAcrossPidNamespaces) {
  LinkHost host(address());
  Child outer([&] {
    if (unshare(CLONE_NEWPID) != 0) return 2;
    Child inner([&] {
      absl::StatusOr<std::unique_ptr<Link>> link = Dial(address());
      if (!link.ok() || (*link)->peer().pid != 0) return 3;
      pause();
      return 0;
    });
    return -inner.Wait();
  });
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(link->peer().pid, 0) << "a pid of another namespace means nothing here";
  EXPECT_EQ(link->peer().uid, geteuid());
  LinkDriver driver(*link);
  outer.Kill(SIGKILL);  // and so the whole namespace
  outer.Wait();
  EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(driver.closed);
  EXPECT_TRUE(absl::IsUnavailable(link->status())) << link->status();
}

INSTANTIATE_TEST_SUITE_P(Mechanisms, Rendezvous, ::testing::ValuesIn(Mechanisms().begin(), Mechanisms().end()),
                         [](const auto& test) { return std::string(test.param->scheme()); });

}  // namespace
}  // namespace ipcrpc::rendezvous

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  const std::filesystem::path mount = std::filesystem::temp_directory_path() / ipcrpc::Cat("ipcrpc-mqueue-", getpid());
  std::filesystem::create_directory(mount);
  ipcrpc::rendezvous::queues_mount = mount;
  if (!ipcrpc::EnterIpcNamespace(mount)) {
    std::filesystem::remove(mount);
    std::fprintf(stderr, "needs root, and the right to make namespaces\n");
    return geteuid() == 0 ? 1 : 77;
  }
  const rlimit limit = {.rlim_cur = ipcrpc::rendezvous::kDefaultQueueBytes, .rlim_max = ipcrpc::rendezvous::kDefaultQueueBytes};
  if (setrlimit(RLIMIT_MSGQUEUE, &limit) != 0) return 1;
  const int result = RUN_ALL_TESTS();
  umount(mount.c_str());
  std::filesystem::remove(mount);
  return result;
}
