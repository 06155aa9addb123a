#include "rpc/run_times.h"

#include <algorithm>

#include "transport/base/ticks.h"

namespace ipcrpc::rpc {
namespace {

// A handler that takes so long on average, or so long twice within a few runs, keeps a poller from its other
// connections. Once alone may as well have been the scheduler: on a busy machine every thread loses its processor for
// some milliseconds now and then, and a hand-over to a worker costs each later call two wakes.
constexpr uint64_t kLongMeanUs = 50;
constexpr uint64_t kLongRunUs = 1000;
constexpr uint32_t kLongRunWeight = 8;  // short runs that make up for a long one
// So many short runs in a row on workers bring a method back.
constexpr uint32_t kShortRunsToReturn = 1000;
constexpr uint64_t kLongReactionUs = 10'000;
constexpr uint32_t kShortReactionsToReturn = 64;
// What one run counts for in the mean at most.
constexpr uint64_t kMeanCapUs = 4 * kLongMeanUs;

// 4 GB/s, and no more than a quarter of a millisecond.
constexpr size_t kAllowedBytesPerUs = 4096;
constexpr size_t kMostBytesAllowed = 1024 * 1024;

}  // namespace

void RunTimes::NoteRun(uint64_t ticks, size_t request_bytes) {
  const uint64_t per_us = TicksPerMicrosecond();
  ticks -= std::min(ticks, std::min(request_bytes, kMostBytesAllowed) / kAllowedBytesPerUs * per_us);
  if (Blocks()) {
    NoteWorkerRun(ticks < kLongMeanUs * per_us, kShortRunsToReturn);
    return;
  }
  const uint64_t mean = mean_ticks_.load(std::memory_order_relaxed);
  const uint64_t next = mean - mean / 16 + std::min(ticks, kMeanCapUs * per_us) / 16;
  mean_ticks_.store(next, std::memory_order_relaxed);
  NoteLength(ticks > kLongRunUs * per_us);
  if (next > kLongMeanUs * per_us) blocks_.store(true, std::memory_order_relaxed);
}

void RunTimes::NoteReaction(uint64_t ticks) {
  const bool is_long = ticks > kLongReactionUs * TicksPerMicrosecond();
  if (Blocks()) {
    NoteWorkerRun(!is_long, kShortReactionsToReturn);
  } else {
    NoteLength(is_long);
  }
}

void RunTimes::NoteLength(bool is_long) {
  uint32_t long_runs = long_runs_.load(std::memory_order_relaxed);
  if (is_long) [[unlikely]] {
    long_runs += kLongRunWeight;
    long_runs_.store(long_runs, std::memory_order_relaxed);
  } else if (long_runs != 0) [[unlikely]] {
    long_runs_.store(--long_runs, std::memory_order_relaxed);
  }
  if (long_runs > kLongRunWeight) blocks_.store(true, std::memory_order_relaxed);
}

void RunTimes::NoteWorkerRun(bool is_short, uint32_t short_runs_to_return) {
  if (!is_short) {
    short_runs_.store(0, std::memory_order_relaxed);
  } else if (short_runs_.fetch_add(1, std::memory_order_relaxed) + 1 >= short_runs_to_return) {
    short_runs_.store(0, std::memory_order_relaxed);
    long_runs_.store(0, std::memory_order_relaxed);
    mean_ticks_.store(0, std::memory_order_relaxed);
    blocks_.store(false, std::memory_order_relaxed);
  }
}

}  // namespace ipcrpc::rpc
