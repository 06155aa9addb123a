#include "rpc/backoff.h"

#include "gtest/gtest.h"

namespace ipcrpc::rpc {
namespace {

TEST(BackoffTest, GrowsWithJitterUpToItsLimitAndStartsAnew) {
  for (uint32_t seed = 1; seed <= 100; ++seed) {
    Backoff backoff(1000, 0, 50'000, seed);
    double middle = 1000;
    for (int i = 0; i < 20; ++i) {
      const auto wait = static_cast<double>(backoff.Next());
      EXPECT_GE(wait, 0.8 * middle - 20) << i;
      EXPECT_LE(wait, std::min(1.2 * middle + 20, 50'000.0)) << i;
      middle = std::min(1.6 * middle, 50'000.0);
    }
    backoff.Reset();
    EXPECT_LE(backoff.Next(), 1200);
  }
}

TEST(BackoffTest, ManyChannelsDoNotTryTogether) {
  Backoff one(1'000'000, 0, 1'000'000'000, 1), other(1'000'000, 0, 1'000'000'000, 2);
  EXPECT_NE(one.Next(), other.Next());
}

TEST(BackoffTest, NeverShorterThanItsMinimumNorLongerThanItsMaximum) {
  Backoff backoff(1, 700, 900, 3);
  for (int i = 0; i < 50; ++i) {
    const int64_t wait = backoff.Next();
    EXPECT_GE(wait, 700);
    EXPECT_LE(wait, 900);
  }
  EXPECT_EQ(Backoff(5, 1000, 10, 4).Next(), 10);  // the maximum stands
}

}  // namespace
}  // namespace ipcrpc::rpc
