#include "transport/base/ticks.h"

#include <algorithm>

#include "transport/base/atomics.h"
#include "transport/base/clock.h"

namespace ipcrpc {

uint64_t TicksPerMicrosecond() {
  static const uint64_t rate = [] {
#if defined(__x86_64__)
    const int64_t ns = MonotonicNs();
    const uint64_t ticks = Ticks();
    while (MonotonicNs() - ns < 100'000) CpuRelax();
    const int64_t elapsed_ns = MonotonicNs() - ns;
    return std::max<uint64_t>(1, (Ticks() - ticks) * 1000 / static_cast<uint64_t>(elapsed_ns));
#else
    return uint64_t{1000};
#endif
  }();
  return rate;
}

}  // namespace ipcrpc
