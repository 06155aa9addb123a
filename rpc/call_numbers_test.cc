#include "rpc/call_numbers.h"

#include <gtest/gtest.h>

namespace ipcrpc::rpc {
namespace {

TEST(CallNumbers, AreGivenOneAfterTheOther) {
  CallNumbers numbers;
  EXPECT_FALSE(numbers.Given(1));
  EXPECT_EQ(numbers.Next(), 1u);
  EXPECT_EQ(numbers.Next(), 2u);
  EXPECT_TRUE(numbers.Given(1));
  EXPECT_TRUE(numbers.Given(2));
  EXPECT_FALSE(numbers.Given(3));
  EXPECT_FALSE(numbers.Given(0));
  EXPECT_FALSE(numbers.came_round());
}

TEST(CallNumbers, ComeRoundWithoutZero) {
  CallNumbers numbers(UINT32_MAX - 1);
  EXPECT_EQ(numbers.Next(), UINT32_MAX);
  EXPECT_FALSE(numbers.came_round());
  EXPECT_FALSE(numbers.Given(0));
  EXPECT_EQ(numbers.Next(), 1u);
  EXPECT_TRUE(numbers.came_round());
  // A late answer to a call of the round before is no lie.
  EXPECT_TRUE(numbers.Given(UINT32_MAX));
  EXPECT_TRUE(numbers.Given(12345));
  EXPECT_FALSE(numbers.Given(0));
}

}  // namespace
}  // namespace ipcrpc::rpc
