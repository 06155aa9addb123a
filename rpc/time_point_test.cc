#include "ipcrpc/time_point.h"

#include <chrono>
#include <thread>

#include "gtest/gtest.h"

namespace ipcrpc::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// Of the steady clock's time; who reads it loses the processor just before or just after it is read.
template <bool kBefore>
struct Interrupted {
  using duration = steady_clock::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Interrupted>;
  static constexpr bool is_steady = true;

  static time_point now() {
    if (kBefore) std::this_thread::sleep_for(milliseconds(20));
    const time_point read(steady_clock::now().time_since_epoch());
    if (!kBefore) std::this_thread::sleep_for(milliseconds(20));
    return read;
  }
};

template <typename Clock>
void ExpectNeverEarly() {
  const typename Clock::time_point when(steady_clock::now().time_since_epoch() + milliseconds(500));
  EXPECT_GE(ToMonotonicNs(when), nanoseconds(when.time_since_epoch()).count());
}

TEST(TimePointTest, ADeadlineIsNeverEarly) {
  ExpectNeverEarly<steady_clock>();
  ExpectNeverEarly<Interrupted<true>>();
  ExpectNeverEarly<Interrupted<false>>();
}

TEST(TimePointTest, TheLargestIsNone) {
  EXPECT_EQ(ToMonotonicNs(steady_clock::time_point::max()), kNoDeadlineNs);
  EXPECT_EQ(ToMonotonicNs(std::chrono::system_clock::time_point::max()), kNoDeadlineNs);
  EXPECT_EQ(ToSystemTime(kNoDeadlineNs), std::chrono::system_clock::time_point::max());
}

TEST(TimePointTest, TheSmallestHasPassed) {
  EXPECT_LE(ToMonotonicNs(steady_clock::time_point::min()), 0);
  EXPECT_LE(ToMonotonicNs(std::chrono::system_clock::time_point::min()), 0);
}

}  // namespace
}  // namespace ipcrpc::internal
