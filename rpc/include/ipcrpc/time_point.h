// Deadlines as users give them: time points of any clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace ipcrpc::internal {

inline constexpr int64_t kNoDeadlineNs = std::numeric_limits<int64_t>::max();

// Nanoseconds of CLOCK_MONOTONIC for a time point of any clock; its max() is "none".
template <typename Clock, typename Duration>
int64_t ToMonotonicNs(const std::chrono::time_point<Clock, Duration>& when) {
  using std::chrono::nanoseconds;
  if (when == std::chrono::time_point<Clock, Duration>::max()) return kNoDeadlineNs;
  if (when == std::chrono::time_point<Clock, Duration>::min()) return 0;
  // In this order: what passes between the two makes a deadline later, never earlier.
  const auto its_now = Clock::now();
  const int64_t now = std::chrono::duration_cast<nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  const double left_s = std::chrono::duration<double>(when - its_now).count();
  if (left_s > 9e9) return kNoDeadlineNs;  // three centuries
  if (left_s < -9e8) return 0;
  return now + std::chrono::duration_cast<nanoseconds>(when - its_now).count();
}

// The other way; kNoDeadlineNs is max().
inline std::chrono::system_clock::time_point ToSystemTime(int64_t monotonic_ns) {
  using std::chrono::nanoseconds;
  using std::chrono::system_clock;
  if (monotonic_ns == kNoDeadlineNs) return system_clock::time_point::max();
  const int64_t now = std::chrono::duration_cast<nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  return system_clock::now() + std::chrono::duration_cast<system_clock::duration>(nanoseconds(monotonic_ns - now));
}

}  // namespace ipcrpc::internal
