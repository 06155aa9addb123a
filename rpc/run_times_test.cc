#include "rpc/run_times.h"

#include <gtest/gtest.h>

#include "transport/base/ticks.h"

namespace ipcrpc::rpc {
namespace {

constexpr size_t kMiB = 1024 * 1024;

class RunTimesTest : public testing::Test {
 protected:
  bool BlocksAfter(int runs, uint64_t us, size_t request_bytes) {
    for (int i = 0; i < runs; ++i) times_.NoteRun(us * TicksPerMicrosecond(), request_bytes);
    return times_.Blocks();
  }

  RunTimes times_;
};

TEST_F(RunTimesTest, OneLongRunIsTheSchedulersASecondIsTheHandlers) {
  EXPECT_FALSE(BlocksAfter(1, 5000, 0));
  EXPECT_TRUE(BlocksAfter(1, 5000, 0));
}

TEST_F(RunTimesTest, ShortRunsAreForEver) { EXPECT_FALSE(BlocksAfter(10'000, 40, 0)); }

TEST_F(RunTimesTest, ManyMiddlingRunsAreLong) { EXPECT_TRUE(BlocksAfter(1000, 100, 0)); }

TEST_F(RunTimesTest, WhatALargeRequestTakesIsNotTheHandlers) {
  EXPECT_FALSE(BlocksAfter(1000, 250, kMiB));
  EXPECT_TRUE(BlocksAfter(1000, 250 + 100, kMiB));
}

TEST_F(RunTimesTest, HoweverLargeARequestIsItExcusesNoMore) {
  EXPECT_FALSE(BlocksAfter(1000, 250, 64 * kMiB));
  EXPECT_TRUE(BlocksAfter(1000, 250 + 100, 64 * kMiB));
}

TEST_F(RunTimesTest, AThousandShortRunsBringABlockingOneBack) {
  ASSERT_TRUE(BlocksAfter(2, 5000, 0));
  EXPECT_TRUE(BlocksAfter(999, 10, 0));
  EXPECT_FALSE(BlocksAfter(1, 10, 0));
}

}  // namespace
}  // namespace ipcrpc::rpc
