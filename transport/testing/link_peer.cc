#include "transport/testing/link_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <sstream>

#include "transport/base/strings.h"
#include "transport/scheme.h"
#include "transport/testing/link_driver.h"

extern char** environ;

namespace ipcrpc {
namespace {

constexpr char kPeerFlag[] = "--link-peer";
constexpr char kStdioPeerFlag[] = "--stdio-link-peer";  // GO RESULT ROLE: numbers of descriptors
constexpr int kSecondsMax = 30;

// ---- roles -------------------------------------------------------------------------------------

void AwaitGo(int go_fd) {
  pollfd go = {.fd = go_fd, .events = POLLIN, .revents = 0};
  poll(&go, 1, kSecondsMax * 1000);
}

// Checks frames against those of a seed.
class Expecter {
 public:
  Expecter(uint64_t seed) : seed_(seed) {}
  bool Take(const Bytes& frame) {
    const bool right = frame == MakeFrame(seed_, next_, frame.size());
    if (!right)
      std::fprintf(stderr, "frame %d of seed %d is wrong (%zu bytes)\n", static_cast<int>(next_),
                   static_cast<int>(seed_), frame.size());
    ++next_;
    return right;
  }
  uint64_t taken() const { return next_; }

 private:
  const uint64_t seed_;
  uint64_t next_ = 0;
};

int Exchange(Link& link, uint64_t seed, uint64_t peer_seed, uint64_t count) {
  LinkDriver driver(link);
  Expecter expecter(peer_seed);
  driver.on_frame = [&](const Bytes& frame) {
    return expecter.Take(frame) ? FrameSink::Verdict::kConsumed : FrameSink::Verdict::kFault;
  };
  const uint32_t max = link.max_frame_bytes();
  uint64_t sent = 0;
  const bool done = driver.DriveUntil(
      [&] {
        const uint64_t before = sent;
        while (sent < count && driver.TrySend(MakeFrame(seed, sent, FrameSize(seed, sent, max)))) ++sent;
        if (sent != before) link.Flush();
        return sent == count && expecter.taken() == count;
      },
      kSecondsMax * 1000);
  if (!done)
    std::fprintf(stderr, "exchange: %d sent, %d received: %s\n", int(sent), int(expecter.taken()),
                 link.status().ToString().c_str());
  return done && driver.Drain() ? 0 : 1;
}

// Sends while another thread holds the receive role.
class ReceivingSink final : public FrameSink {
 public:
  explicit ReceivingSink(uint64_t seed) : expecter_(seed) {}
  Verdict OnFrame(std::span<const std::byte> frame, bool) override {
    return expecter_.Take(Bytes(frame.begin(), frame.end())) ? Verdict::kConsumed : Verdict::kFault;
  }
  void OnSpace() override {
    const std::lock_guard lock(mu_);
    space_ = true;
    changed_.notify_one();
  }
  void AwaitSpace() {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return space_; });
    space_ = false;
  }
  uint64_t taken() const { return expecter_.taken(); }

 private:
  Expecter expecter_;
  std::mutex mu_;
  std::condition_variable changed_;
  bool space_ = false;
};

int Flood(Link& link, uint64_t seed, uint64_t peer_seed, uint64_t count) {
  HangupWatch watch(link);
  ReceivingSink sink(peer_seed);
  std::atomic<bool> sent = false;
  std::thread sender([&] {
    const uint32_t max = link.max_frame_bytes();
    for (uint64_t i = 0; i < count; ++i) {
      const Bytes frame = MakeFrame(seed, i, FrameSize(seed, i, max));
      std::byte* room;
      while ((room = link.Reserve(static_cast<uint32_t>(frame.size()), Link::Class::kData)) == nullptr) {
        link.Flush();
        link.Kick();
        sink.AwaitSpace();
      }
      std::memcpy(room, frame.data(), frame.size());
      link.Commit(static_cast<uint32_t>(frame.size()));
      if (i % 3 == 0) link.Flush();
    }
    link.Flush();
    sent.store(true);
    link.Kick();
  });
  const int64_t deadline = InMs(kSecondsMax * 1000);
  bool ok = true;
  const auto done = [&] { return sink.taken() == count && sent.load() && !link.wants_write(); };
  while (ok && !done()) {
    const Link::Progress progress = link.Poll(sink, 16);
    if (progress == Link::Progress::kIdle && !done()) link.Wait(deadline);
    if (progress == Link::Progress::kClosed) {
      // The peer may leave once it has everything, before our sender has noticed that it is done.
      ok = sink.taken() == count;
      break;
    }
    ok = MonotonicNs() < deadline;
  }
  if (!ok) {
    std::fprintf(stderr, "flood: %d received, sent %d, wants_write %d: %s\n", int(sink.taken()), sent.load(),
                 link.wants_write(), link.status().ToString().c_str());
    link.Close(absl::AbortedError("flood failed"));
  }
  // On a closed link there is always room; a sender that waits for some has to be told.
  while (!sent.load()) sink.OnSpace(), std::this_thread::yield();
  sender.join();
  return ok ? 0 : 1;
}

int Echo(Link& link) {
  LinkDriver driver(link);
  driver.on_frame = [&](const Bytes& frame) {
    if (!driver.TrySend(frame)) return FrameSink::Verdict::kHold;
    link.Flush();
    return FrameSink::Verdict::kConsumed;
  };
  driver.DriveUntil([] { return false; }, kSecondsMax * 1000);
  return driver.closed && absl::IsUnavailable(link.status()) ? 0 : 1;
}

int EchoFds(Link& link) {
  LinkDriver driver(link);
  std::vector<UniqueFd> taken;  // of the frame that comes again until they are sent back
  bool ok = true;
  driver.on_frame = [&](const Bytes& frame) {
    const std::optional<FdFrame> announced = ReadFdFrame(frame);
    if (announced.has_value() && announced->count == 0) {
      if (!driver.TrySend(frame)) return FrameSink::Verdict::kHold;
      link.Flush();
      return FrameSink::Verdict::kConsumed;
    }
    if (taken.empty() && announced.has_value()) {
      absl::StatusOr<std::vector<UniqueFd>> fds = link.TakeFds(announced->parcel, announced->count);
      if (!fds.ok()) std::fprintf(stderr, "echo-fds: %s\n", fds.status().ToString().c_str());
      if (fds.ok()) taken = *std::move(fds);
    }
    ok = ok && announced.has_value() && taken.size() == announced->count;
    if (!ok) return FrameSink::Verdict::kFault;
    const Link::FdSending sent = driver.TrySendFds(taken, frame.size());
    if (sent == Link::FdSending::kNoSpace) return FrameSink::Verdict::kHold;
    ok = sent == Link::FdSending::kSent;
    taken.clear();
    return FrameSink::Verdict::kConsumed;
  };
  driver.DriveUntil([] { return false; }, kSecondsMax * 1000);
  return ok && driver.closed && absl::IsUnavailable(link.status()) ? 0 : 1;
}

[[noreturn]] int SendFdsAndDie(Link& link, uint64_t count) {
  LinkDriver driver(link);
  std::vector<UniqueFd> files;
  files.emplace_back(memfd_create("sent", MFD_CLOEXEC));
  for (uint64_t i = 0; i < count; ++i) {
    if (!driver.DriveUntil([&] { return driver.TrySendFds(files, 100) == Link::FdSending::kSent; })) break;
  }
  driver.Drain();
  kill(getpid(), SIGKILL);
  std::abort();
}

int SendAndClose(Link& link, uint64_t seed, uint64_t count, size_t max) {
  LinkDriver driver(link);
  if (max == 0) max = link.max_frame_bytes();
  for (uint64_t i = 0; i < count; ++i) {
    if (!driver.Send(MakeFrame(seed, i, FrameSize(seed, i, max)))) return 1;
  }
  if (!driver.Drain()) return 1;
  link.Close(absl::CancelledError("sent everything"));
  return 0;
}

// ---- the other process -------------------------------------------------------------------------

// The next link at the listener; null when `until_fd` ends first.
std::unique_ptr<Link> AcceptOne(Listener& listener, int until_fd) {
  std::unique_ptr<Link> link;
  while (link == nullptr) {
    pollfd readable[] = {{.fd = listener.fd(), .events = POLLIN, .revents = 0},
                         {.fd = until_fd, .events = 0, .revents = 0}};
    poll(readable, 2, kSecondsMax * 1000);
    if (readable[0].revents == 0 && readable[1].revents != 0) break;
    listener.OnReadable([&](std::unique_ptr<Link> accepted) { link = std::move(accepted); });
  }
  return link;
}

template <typename Value>
Value OrExit(absl::StatusOr<Value> value, int code) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "peer: %s\n", value.status().ToString().c_str());
  std::exit(code);
}

[[noreturn]] void Peer(const std::string& side, const std::string& address_text, const std::string& role) {
  const absl::StatusOr<Address> address = ParseAddress(address_text);
  std::unique_ptr<Link> link;
  std::unique_ptr<Listener> listener;
  if (side == "connect") {
    link = OrExit(Connect(*address, InMs(20000)), 90);
  } else {
    absl::StatusOr<std::unique_ptr<Listener>> bound = Listen(*address);
    const char ready = bound.ok() ? 'y' : 'n';
    if (write(STDOUT_FILENO, &ready, 1) != 1) std::exit(91);
    listener = OrExit(std::move(bound), 91);
    link = AcceptOne(*listener, STDIN_FILENO);
    if (link == nullptr) std::exit(92);  // the test is gone
  }
  const int result = PlayRole(role, *link, STDIN_FILENO);
  link.reset();
  listener.reset();
  std::exit(result);
}

[[noreturn]] void StdioPeer(int go_fd, int result_fd, const std::string& role) {
  const int32_t pid = getpid();
  if (write(result_fd, &pid, sizeof pid) != sizeof pid) std::exit(93);
  const std::unique_ptr<Listener> listener = OrExit(Listen(*ParseAddress("stdio:")), 91);
  std::unique_ptr<Link> link = AcceptOne(*listener, go_fd);
  if (link == nullptr) std::exit(92);
  // What strays must not get into the stream.
  std::puts("a line that is no frame");
  std::fflush(stdout);
  char nothing;
  if (read(STDIN_FILENO, &nothing, 1) != 0) std::exit(94);
  const int32_t result = PlayRole(role, *link, go_fd);
  link.reset();
  if (write(result_fd, &result, sizeof result) != sizeof result) std::exit(93);
  std::exit(result);
}

}  // namespace

int PlayRole(const std::string& role, Link& link, int go_fd) {
  std::istringstream words(role);
  std::string name;
  uint64_t a = 0, b = 0, c = 0;
  words >> name >> a >> b >> c;
  if (name == "exchange") return Exchange(link, a, b, c);
  if (name == "flood") return Flood(link, a, b, c);
  if (name == "send-and-close") return SendAndClose(link, a, b, c);
  if (name == "idle" || name.starts_with("sleepy-")) AwaitGo(go_fd);
  if (name == "idle") return 0;
  if (name == "echo" || name == "sleepy-echo") return Echo(link);
  if (name == "echo-fds" || name == "sleepy-echo-fds") return EchoFds(link);
  if (name == "send-fds-and-die") SendFdsAndDie(link, a);
  std::fprintf(stderr, "no role '%s'\n", role.c_str());
  return 99;
}

void BecomePeerIfAsked(int argc, char** argv) {
  if (argc == 5 && std::strcmp(argv[1], kStdioPeerFlag) == 0) {
    StdioPeer(std::atoi(argv[2]), std::atoi(argv[3]), argv[4]);
  }
  if (argc == 5 && std::strcmp(argv[1], kPeerFlag) == 0) Peer(argv[2], argv[3], argv[4]);
}

// ---- LinkHost ----------------------------------------------------------------------------------

struct LinkHost::Queue {
  std::mutex mu;
  std::condition_variable changed;
  std::deque<std::unique_ptr<Link>> links;
};

LinkHost::LinkHost(const std::string& address)
    : queue_(std::make_shared<Queue>()), stop_(eventfd(0, EFD_CLOEXEC)) {
  absl::StatusOr<std::unique_ptr<Listener>> bound = Listen(*ParseAddress(address));
  if (!bound.ok()) {
    std::fprintf(stderr, "cannot host: %s\n", bound.status().ToString().c_str());
    std::abort();
  }
  listener_ = *std::move(bound);
  thread_ = std::thread([this] {
    while (true) {
      pollfd readable[] = {{.fd = listener_->fd(), .events = POLLIN, .revents = 0},
                           {.fd = stop_.get(), .events = POLLIN, .revents = 0}};
      poll(readable, 2, -1);
      if (readable[1].revents != 0) return;
      listener_->OnReadable([this](std::unique_ptr<Link> link) {
        const std::lock_guard lock(queue_->mu);
        queue_->links.push_back(std::move(link));
        queue_->changed.notify_all();
      });
    }
  });
}

LinkHost::~LinkHost() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

std::unique_ptr<Link> LinkHost::Accept() {
  std::unique_lock lock(queue_->mu);
  if (!queue_->changed.wait_for(lock, std::chrono::seconds(20), [&] { return !queue_->links.empty(); }))
    return nullptr;
  std::unique_ptr<Link> link = std::move(queue_->links.front());
  queue_->links.pop_front();
  return link;
}

// ---- peers -------------------------------------------------------------------------------------

PeerThread::PeerThread(std::string role, std::unique_ptr<Link> link)
    : go_(eventfd(0, EFD_CLOEXEC)), thread_([this, role = std::move(role), link = std::move(link)]() mutable {
        result_ = PlayRole(role, *link, go_.get());
        link.reset();
      }) {}

PeerThread::~PeerThread() {
  if (thread_.joinable()) Join();
}

void PeerThread::Go() { eventfd_write(go_.get(), 1); }

int PeerThread::Join() {
  Go();
  thread_.join();
  return result_;
}

PeerProcess::PeerProcess(Side side, const std::string& address, const std::string& role,
                         const std::vector<int>& inherits) {
  int to_child[2], from_child[2];
  if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0) std::abort();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_child[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from_child[1], STDOUT_FILENO);
  for (const int fd : inherits) posix_spawn_file_actions_adddup2(&actions, fd, fd);
  std::string side_word = side == Side::kConnects ? "connect" : "listen";
  std::string program = "/proc/self/exe", flag = kPeerFlag, address_word = address, role_word = role;
  char* argv[] = {program.data(),      flag.data(),      side_word.data(),
                  address_word.data(), role_word.data(), nullptr};
  if (posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv, environ) != 0) std::abort();
  posix_spawn_file_actions_destroy(&actions);
  close(to_child[0]);
  close(from_child[1]);
  go_.reset(to_child[1]);
  char ready = 'y';
  ok_ = side == Side::kConnects || (read(from_child[0], &ready, 1) == 1 && ready == 'y');
  close(from_child[0]);
}

PeerProcess::~PeerProcess() {
  if (pid_ != 0) Kill();
}

void PeerProcess::Go() { go_.reset(); }

int PeerProcess::Join() {
  Go();
  int status = 0;
  waitpid(std::exchange(pid_, 0), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void PeerProcess::Kill() {
  kill(pid_, SIGKILL);
  Join();
}

// ---- ExecPeer ----------------------------------------------------------------------------------

ExecPeer::ExecPeer(const std::string& role) {
  // The peer's ends are inherited by what is started next, which is the peer.
  int go[2], result[2];
  if (pipe(go) != 0 || pipe(result) != 0) std::abort();
  peer_go_.reset(go[0]);
  go_.reset(go[1]);
  result_.reset(result[0]);
  peer_result_.reset(result[1]);
  fcntl(go_.get(), F_SETFD, FD_CLOEXEC);
  fcntl(result_.get(), F_SETFD, FD_CLOEXEC);
  char program[4096] = {};
  if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) std::abort();
  address_ = Cat("exec:exec '", program, "' ", kStdioPeerFlag, " ", go[0], " ", result[1], " '", role, "'");
}

void ExecPeer::Started() {
  peer_go_.reset();
  peer_result_.reset();
  int32_t pid = 0;
  if (read(result_.get(), &pid, sizeof pid) == sizeof pid) pid_ = pid;
}

int ExecPeer::Join() {
  Go();
  int32_t result = -1;
  pollfd told = {.fd = result_.get(), .events = POLLIN, .revents = 0};
  if (poll(&told, 1, kSecondsMax * 1000) != 1 || read(result_.get(), &result, sizeof result) != sizeof result) return -1;
  return result;
}

}  // namespace ipcrpc
