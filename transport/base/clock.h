// Time as deadlines use it: nanoseconds of CLOCK_MONOTONIC.
#pragma once

#include <time.h>

#include <cstdint>
#include <limits>

namespace ipcrpc {

inline constexpr int64_t kNoDeadline = std::numeric_limits<int64_t>::max();

inline int64_t MonotonicNs() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

inline timespec ToTimespec(int64_t ns) {
  if (ns < 0) ns = 0;
  return {.tv_sec = static_cast<time_t>(ns / 1'000'000'000), .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
}

}  // namespace ipcrpc
