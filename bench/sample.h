// One run's order and result, in memory that the measuring program shares with both sides; and the loops that fill it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "bench/histogram.h"
#include "bench/ticks.h"

namespace ipcrpc::bench {

enum class Pattern : uint32_t {
  kUnary,         // one call after the other, from each thread
  kServerStream,  // the client counts what it reads
  kClientStream,  // the client counts what it writes; the server's answer says how many came
  kBidiStream,    // an echo; the client writes in one thread and reads in another
  kConnect,       // connect, call, close
  kIdle,          // connections that made one call, and then nothing
};

struct Order {
  Pattern pattern = Pattern::kUnary;
  uint32_t bytes = 64;       // payload of each message
  uint32_t threads = 1;      // that call, on one connection
  uint32_t in_flight = 0;    // calls under way at once, without a thread for each; 0: calls that block
  uint32_t drivers = 0;      // threads that begin those; 0: each one's end begins the next
  uint32_t connections = 1;  // each call takes one of them
  bool skewed = false;       // 95 of 100 calls on the first four connections, else all alike
  bool count = false;        // system calls and allocations as well, which costs time
};

// Cumulative, of one process, all its threads.
struct Usage {
  double cpu_seconds;  // user and kernel, and of children that were waited for when it is the caller's own
  uint64_t faults;     // minor page faults
  double resident_kib;
};
inline constexpr pid_t kSelf = 0;
Usage UsageOf(pid_t pid);

struct Sample {
  Order order;
  double ticks_per_us;
  uint64_t warmup_ticks;
  uint64_t measure_ticks;
  pid_t server_pid;

  // Counted up by both sides while they run, when the order says so.
  struct alignas(64) Allocations {
    std::atomic<uint64_t> count;
  } client_allocations, server_allocations;

  // the result
  Histogram latency;  // ticks
  uint64_t elapsed_ticks;
  Usage client, server;  // over the measured time; resident_kib: growth from before the first connection but one
  double client_syscalls, server_syscalls;  // -1: not counted
  uint64_t client_allocated, server_allocated;
  bool complete;
};

// Both sides' counters over the measured time, into the sample. By the client process.
class Meter {
 public:
  explicit Meter(Sample& sample);
  ~Meter();
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  // After the warm-up: the measured time begins.
  void Start();
  // It is over, and the sample complete.
  void Stop(uint64_t elapsed_ticks);

 private:
  double CountedSyscalls(const std::vector<int>& counters) const;

  Sample& sample_;
  Usage client_before_ = {}, server_before_ = {};
  uint64_t client_allocations_before_ = 0, server_allocations_before_ = 0;
  std::vector<int> client_counters_, server_counters_;
};

// Calls `call` back to back and reads the clock once for each; what runs before the warm-up is over is dropped. By the
// client process.
template <typename Call>
void Measure(Sample& sample, Call&& call) {
  Meter meter(sample);
  const uint64_t warm = Now() + sample.warmup_ticks;
  do {
    call();
  } while (Now() < warm);
  meter.Start();
  const uint64_t began = Now();
  for (uint64_t before = began, after = began; after - began < sample.measure_ticks; before = after) {
    call();
    after = Now();
    sample.latency.Add(after - before);
  }
  meter.Stop(Now() - began);
}

// The same from as many threads as there are calls.
void MeasureThreads(Sample& sample, const std::vector<std::function<void()>>& calls);
// As many calls under way all the time as there are functions, of which each begins one and has `ended` called, by any thread.
// Of several drivers each has its share of them.
using BeginCall = std::function<void(std::function<void()> ended)>;
void MeasureInFlight(Sample& sample, const std::vector<BeginCall>& calls);
// No call at all for the measured time.
void MeasureIdle(Sample& sample);

}  // namespace ipcrpc::bench
