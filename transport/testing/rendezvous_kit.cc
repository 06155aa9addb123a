#include "transport/testing/rendezvous_kit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "transport/names.h"
#include "transport/testing/ipc_namespace.h"

namespace ipcrpc::rendezvous {
namespace {

using Verdict = FrameSink::Verdict;

std::string queues_mount;  // of RunTestsInIpcNamespace()

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

std::array<int, 2> MakePipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) abort();
  return ends;
}

// Waits a moment for what another process does; false after ten seconds.
template <typename Done>
bool Eventually(Done&& done) {
  for (const int64_t deadline = InMs(10000); MonotonicNs() < deadline; std::this_thread::sleep_for(std::chrono::milliseconds(1))) {
    if (done()) return true;
  }
  return false;
}

}  // namespace

int RunTestsInIpcNamespace() {
  const std::filesystem::path mount = std::filesystem::temp_directory_path() / Cat("ipcrpc-mqueue-", getpid());
  std::filesystem::create_directory(mount);
  queues_mount = mount;
  if (!EnterIpcNamespace(mount)) {
    std::filesystem::remove(mount);
    std::fprintf(stderr, "needs root, and the right to make namespaces\n");
    return geteuid() == 0 ? 1 : 77;
  }
  const rlimit limit = {.rlim_cur = kDefaultQueueBytes, .rlim_max = kDefaultQueueBytes};
  const int result = setrlimit(RLIMIT_MSGQUEUE, &limit) == 0 ? RUN_ALL_TESTS() : 1;
  umount(mount.c_str());
  std::filesystem::remove(mount);
  return result;
}

absl::StatusOr<std::unique_ptr<Link>> Dial(const std::string& address, int64_t ms) {
  return ipcrpc::Connect(*ParseAddress(address), InMs(ms));
}

bool Echoes(Link& link, uint64_t seed) {
  LinkDriver driver(link);
  const Bytes frame = MakeFrame(seed, 0, 300);
  bool right = false;
  driver.on_frame = [&](const Bytes& back) {
    right = back == frame;
    return Verdict::kConsumed;
  };
  return driver.Send(frame) && driver.DriveUntil([&] { return driver.frames == 1; }) && right;
}

// ---- a server ----------------------------------------------------------------------------------

ServerProcess::ServerProcess(const std::string& address, uid_t uid, void (*before_asks)())
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

// ---- a client ----------------------------------------------------------------------------------

void RawClient::SendAsk(const Token& token, uid_t uid, uint64_t pid_namespace) {
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

Welcome RawClient::Await() {
  Welcome welcome;
  Eventually([&] {
    file_.reset(open(stem().c_str(), O_RDONLY | O_CLOEXEC));
    return file_.valid() && pread(file_.get(), &welcome, sizeof welcome, 0) == sizeof welcome && welcome.state != 0;
  });
  return welcome;
}

End RawClient::Open(const Welcome& welcome) {
  TakeLife(file_.get(), Side::kClient);
  life_ = OpenLifeFifo(stem(), Side::kClient);
  return *mechanism_.OpenPair(stem(), token_, welcome);
}

bool RawClient::Prove(End& end, const Token& nonce) {
  Proof proof = end.proof;
  proof.nonce = nonce;
  return end.medium->Write(reinterpret_cast<const std::byte*>(&proof), sizeof proof) == sizeof proof;
}

bool RawClient::SeesTheEnd(End& end) {
  std::array<std::byte, 8192> buffer;
  return Eventually([&] {
    const ssize_t got = end.medium->Read(buffer.data(), buffer.size());
    return got == 0 || (got < 0 && errno != EAGAIN);
  });
}

// ---- fixtures ----------------------------------------------------------------------------------

void SweptTest::TearDown() {
  SweepDirectory(directory_.path());
  ExpectNoQueues();
}

void SweptTest::ExpectNoQueues() {
  EXPECT_THAT(PosixQueues(queues_mount), ::testing::IsEmpty());
  EXPECT_EQ(SystemVQueues(), 0);
}

void Rendezvous::ExpectNothingLeft() {
  EXPECT_TRUE(directory_.empty()) << std::filesystem::directory_iterator(directory_.path())->path();
  ExpectNoQueues();
}

INSTANTIATE_TEST_SUITE_P(Mechanisms, Rendezvous, ::testing::ValuesIn(Mechanisms().begin(), Mechanisms().end()),
                         [](const auto& test) { return std::string(test.param->scheme()); });

}  // namespace ipcrpc::rendezvous
