#include "bench/ping_pong.h"

#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace ipcrpc::bench {
namespace {

// An Echo with 64 bytes of payload, serialised.
constexpr size_t kMessageBytes = 71;
constexpr int kProbeBatch = 64;
constexpr uint64_t kProbeBatches = 200;
constexpr double kProbePatienceUs = 100'000;

struct Words {
  alignas(64) std::atomic<uint32_t> ping;
  alignas(64) std::atomic<uint32_t> pong;
};

void SpinUntil(const std::atomic<uint32_t>& word, uint32_t value) {
  while (word.load(std::memory_order_acquire) != value) Pause();
}

void Wake(std::atomic<uint32_t>& word) { syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0); }

void SleepUntil(std::atomic<uint32_t>& word, uint32_t value) {
  for (uint32_t seen; (seen = word.load(std::memory_order_acquire)) != value;) {
    syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
  }
}

class CacheLine final : public Workload {
 public:
  void Serve(const ReadySignal& ready) override {
    ready.Tell();
    for (uint32_t turn = 1;; ++turn) {
      SpinUntil(words().ping, turn);
      words().pong.store(turn, std::memory_order_release);
    }
  }
  void Drive(const SharedMemory& sample) override {
    Measure(*sample.As<Sample>(), [this] { RoundTrip(); });
  }
  void RoundTrip() {
    ++turn_;
    words().ping.store(turn_, std::memory_order_release);
    SpinUntil(words().pong, turn_);
  }

 private:
  Words& words() { return *memory_.As<Words>(); }
  SharedMemory memory_{sizeof(Words)};
  uint32_t turn_ = 0;
};

class Futex final : public Workload {
 public:
  void Serve(const ReadySignal& ready) override {
    ready.Tell();
    for (uint32_t turn = 1;; ++turn) {
      SleepUntil(words().ping, turn);
      words().pong.store(turn, std::memory_order_release);
      Wake(words().pong);
    }
  }
  void Drive(const SharedMemory& sample) override {
    uint32_t turn = 0;
    Measure(*sample.As<Sample>(), [&] {
      ++turn;
      words().ping.store(turn, std::memory_order_release);
      Wake(words().ping);
      SleepUntil(words().pong, turn);
    });
  }

 private:
  Words& words() { return *memory_.As<Words>(); }
  SharedMemory memory_{sizeof(Words)};
};

class Socket final : public Workload {
 public:
  Socket() {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds_) != 0) Fail("socketpair");
  }
  ~Socket() override {
    close(fds_[0]);
    close(fds_[1]);
  }
  void Serve(const ReadySignal& ready) override {
    close(fds_[0]);
    fds_[0] = -1;
    ready.Tell();
    char message[kMessageBytes];
    for (;;) {
      Receive(fds_[1], message);
      Send(fds_[1], message);
    }
  }
  void Drive(const SharedMemory& sample) override {
    close(fds_[1]);
    fds_[1] = -1;
    char message[kMessageBytes] = {};
    Measure(*sample.As<Sample>(), [&] {
      Send(fds_[0], message);
      Receive(fds_[0], message);
    });
  }

 private:
  // Records of this size are never split on a stream that holds one at a time.
  static void Send(int fd, const char* message) {
    if (send(fd, message, kMessageBytes, MSG_NOSIGNAL) != ssize_t{kMessageBytes}) _exit(1);
  }
  static void Receive(int fd, char* message) {
    if (recv(fd, message, kMessageBytes, 0) != ssize_t{kMessageBytes}) _exit(1);
  }

  int fds_[2];
};

}  // namespace

std::unique_ptr<Workload> CacheLinePingPong() { return std::make_unique<CacheLine>(); }
std::unique_ptr<Workload> FutexPingPong() { return std::make_unique<Futex>(); }
std::unique_ptr<Workload> SocketPingPong() { return std::make_unique<Socket>(); }

double ProbeCacheLineNs(int client_cpu, int server_cpu) {
  CacheLine probe;
  SharedMemory batches(sizeof(Histogram));
  ReadySignal ready;
  Process server(server_cpu, [&] { probe.Serve(ready); });
  if (!ready.Await()) return 0;
  const auto patience = static_cast<uint64_t>(kProbePatienceUs * TicksPerMicrosecond());
  Process client(client_cpu, [&] {
    Histogram& histogram = *batches.As<Histogram>();
    const uint64_t began = Now();
    for (uint64_t before = began; histogram.total() < kProbeBatches && before - began < patience;) {
      for (int i = 0; i < kProbeBatch; ++i) probe.RoundTrip();
      const uint64_t after = Now();
      histogram.Add(after - before);
      before = after;
    }
  });
  if (!client.Wait(/*timeout_s=*/5)) return 0;
  return batches.As<Histogram>()->Quantile(0.25) / kProbeBatch / TicksPerMicrosecond() * 1000;
}

}  // namespace ipcrpc::bench
