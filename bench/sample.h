// One run's order and result, in memory that the measuring program shares with the client process; and the loop
// that fills it.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "bench/histogram.h"
#include "bench/ticks.h"

namespace ipcrpc::bench {

// Both sides' processor time so far, all threads, user and kernel.
double CpuSeconds(pid_t pid);

struct Sample {
  // the order
  uint64_t warmup_ticks;
  uint64_t measure_ticks;
  pid_t server_pid;

  // the result
  Histogram latency;  // ticks
  uint64_t elapsed_ticks;
  double cpu_seconds;
  bool complete;
};

// Calls `call` back to back, each timed; what runs before the warm-up is over is dropped. By the client process.
template <typename Call>
void Measure(Sample& sample, Call&& call) {
  const uint64_t warm = Now() + sample.warmup_ticks;
  do {
    call();
  } while (Now() < warm);
  const pid_t self = 0;
  const double cpu_before = CpuSeconds(self) + CpuSeconds(sample.server_pid);
  const uint64_t began = Now();
  uint64_t after;
  do {
    const uint64_t before = Now();
    call();
    after = Now();
    sample.latency.Add(after - before);
  } while (after - began < sample.measure_ticks);
  sample.elapsed_ticks = after - began;
  sample.cpu_seconds = CpuSeconds(self) + CpuSeconds(sample.server_pid) - cpu_before;
  sample.complete = true;
}

}  // namespace ipcrpc::bench
