#include "bench/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace ipcrpc::bench {
namespace {

TEST(HistogramTest, HasNothingToSayOfNothing) {
  EXPECT_EQ(Histogram().Quantile(0.5), 0);
  EXPECT_EQ(Histogram().total(), 0u);
}

TEST(HistogramTest, SmallValuesAreExact) {
  for (uint64_t value = 0; value < 128; ++value) {
    Histogram histogram;
    histogram.Add(value);
    EXPECT_EQ(histogram.Quantile(0.5), static_cast<double>(value));
  }
}

TEST(HistogramTest, EachPowerOfTwoAndItsNeighboursAreRightToOnePartInSixty) {
  for (int bit = 7; bit < 41; ++bit) {
    for (const int64_t offset : {-1, 0, 1}) {
      const auto value = static_cast<uint64_t>((int64_t{1} << bit) + offset);
      Histogram histogram;
      histogram.Add(value);
      EXPECT_NEAR(histogram.Quantile(0.5), static_cast<double>(value), static_cast<double>(value) / 60) << value;
      EXPECT_EQ(histogram.max(), value);
    }
  }
}

TEST(HistogramTest, QuantilesAgreeWithSortedValues) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> latency(7, 2);
  Histogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<uint64_t>(latency(random)));
    histogram.Add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double quantile : {0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999}) {
    const auto expected = static_cast<double>(values[static_cast<size_t>(quantile * 100'000)]);
    EXPECT_NEAR(histogram.Quantile(quantile), expected, expected / 60 + 1) << quantile;
  }
}

TEST(HistogramTest, WhatIsTooLongCountsInTheLastBucket) {
  Histogram histogram;
  histogram.Add(UINT64_MAX);
  EXPECT_EQ(histogram.total(), 1u);
  EXPECT_EQ(histogram.max(), UINT64_MAX);
  EXPECT_GT(histogram.Quantile(0.5), 1e12);
}

TEST(HistogramTest, MergedItHoldsTheValuesOfBoth) {
  Histogram small, large;
  for (int i = 0; i < 99; ++i) small.Add(10);
  large.Add(5000);
  small.Merge(large);
  EXPECT_EQ(small.total(), 100u);
  EXPECT_EQ(small.max(), 5000u);
  EXPECT_EQ(small.Quantile(0.5), 10);
  EXPECT_NEAR(small.Quantile(0.995), 5000, 5000 / 60);
}

}  // namespace
}  // namespace ipcrpc::bench
