#include "bench/cache_line.h"

#include <atomic>

namespace ipcrpc::bench {
namespace {

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

}  // namespace

std::unique_ptr<Workload> CacheLinePingPong() { return std::make_unique<CacheLine>(); }

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
