#include "transport/base/ticks.h"

#include <algorithm>

#include "transport/base/atomics.h"
#include "transport/base/clock.h"

namespace ipcrpc {

#if defined(__x86_64__)
namespace {

struct Moment {
  int64_t ns;
  uint64_t ticks;
};

// Both clocks at once: of some tries the one in which the least time passed between, in which nobody else had the processor.
Moment Now() {
  Moment best = {};
  uint64_t best_gap = UINT64_MAX;
  for (int i = 0; i < 3; ++i) {
    const uint64_t before = Ticks();
    const int64_t ns = MonotonicNs();
    const uint64_t gap = Ticks() - before;
    if (gap < best_gap) best = {.ns = ns, .ticks = before + gap / 2}, best_gap = gap;
  }
  return best;
}

}  // namespace
#endif

uint64_t TicksPerMicrosecond() {
  static const uint64_t rate = [] {
#if defined(__x86_64__)
    const Moment begin = Now();
    while (MonotonicNs() - begin.ns < 20'000) CpuRelax();
    const Moment end = Now();
    return std::max<uint64_t>(1, (end.ticks - begin.ticks) * 1000 / static_cast<uint64_t>(end.ns - begin.ns));
#else
    return uint64_t{1000};
#endif
  }();
  return rate;
}

}  // namespace ipcrpc
