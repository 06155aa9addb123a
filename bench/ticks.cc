#include "bench/ticks.h"

#include <time.h>

namespace ipcrpc::bench {
namespace {

constexpr double kCalibrationUs = 100'000;

double MonotonicUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

// The two clocks read together: of several tries the one that took least, so that an interruption between
// the reads does not count.
struct Both {
  double us;
  uint64_t ticks;
};
Both ReadBoth() {
  Both best = {};
  uint64_t best_width = UINT64_MAX;
  for (int i = 0; i < 100; ++i) {
    const uint64_t before = Now();
    const double us = MonotonicUs();
    const uint64_t after = Now();
    if (after - before >= best_width) continue;
    best_width = after - before;
    best = {us, before + (after - before) / 2};
  }
  return best;
}

double Calibrate() {
  const Both start = ReadBoth();
  while (MonotonicUs() - start.us < kCalibrationUs) Pause();
  const Both end = ReadBoth();
  return static_cast<double>(end.ticks - start.ticks) / (end.us - start.us);
}

}  // namespace

double TicksPerMicrosecond() {
  static const double rate = Calibrate();
  return rate;
}

}  // namespace ipcrpc::bench
