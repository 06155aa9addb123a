#include "transport/base/spin.h"

#include <algorithm>
#include <cstdint>

#include "gtest/gtest.h"
#include "transport/base/ticks.h"

namespace ipcrpc {
namespace {

// A Yielder on a clock of its own.
class YielderTest : public testing::Test {
 protected:
  static constexpr uint64_t kShortUs = 20, kLongUs = 3000;  // the peer's turn; another process's time slice

  bool YieldFor(uint64_t us) {
    const uint64_t before = now_;
    Pass(us);
    return yielder_.Note(before, now_);
  }
  void Pass(uint64_t us) { now_ += us * per_us_; }
  // Until a yield is allowed again; passes that time.
  uint64_t PauseUs() {
    uint64_t us = 0;
    while (!yielder_.allowed(now_)) Pass(1), ++us;
    return us;
  }

 private:
  const uint64_t per_us_ = TicksPerMicrosecond();
  uint64_t now_ = uint64_t{1} << 40;
  Yielder yielder_;
};

TEST_F(YielderTest, GoesOnWhileYieldsAreShort) {
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(YieldFor(kShortUs));
  EXPECT_EQ(PauseUs(), 0u);
}

TEST_F(YielderTest, PausesAMillisecondAfterALongOne) {
  EXPECT_TRUE(YieldFor(kShortUs));
  EXPECT_FALSE(YieldFor(kLongUs));
  EXPECT_EQ(PauseUs(), 1000u);
  EXPECT_TRUE(YieldFor(kShortUs));
}

TEST_F(YielderTest, PausesLongerWhereSomebodyStays) {
  uint64_t expected_us = 1000;
  for (int i = 0; i < 12; ++i) {
    EXPECT_FALSE(YieldFor(kLongUs));
    EXPECT_EQ(PauseUs(), expected_us);
    expected_us = std::min<uint64_t>(2 * expected_us, 1'000'000);
  }
}

// A task that comes every few milliseconds is not met each time.
TEST_F(YielderTest, IsNotReassuredByTheFirstShortOne) {
  EXPECT_FALSE(YieldFor(kLongUs));
  PauseUs();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(YieldFor(kShortUs));
  EXPECT_FALSE(YieldFor(kLongUs));
  EXPECT_EQ(PauseUs(), 2000u);
}

TEST_F(YielderTest, BeginsAnewOnceItWentWellForAsLongAsItPaused) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(YieldFor(kLongUs));
    PauseUs();
  }
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(YieldFor(kShortUs));  // 4 ms, as long as the last pause
  EXPECT_FALSE(YieldFor(kLongUs));
  EXPECT_EQ(PauseUs(), 1000u);
}

TEST(SpinPolicyTest, SpinsNoLongerThanItsRuleSaysHoweverLongAWakeTakes) {
  const uint64_t us = TicksPerMicrosecond();
  for (const uint32_t most_us : {3u, 20u, SpinRule::kMostUs}) {
    SpinPolicy policy("test", {.most_us = most_us});
    EXPECT_LE(policy.facts().budget_ns, most_us * 1000);
    for (int i = 0; i < 100; ++i) policy.NoteSleep(/*wake_latency_ticks=*/900 * us);
    EXPECT_LE(policy.facts().budget_ns, most_us * 1000);
    EXPECT_GE(policy.facts().budget_ns, most_us * 1000 - 100);
  }
}

}  // namespace
}  // namespace ipcrpc
