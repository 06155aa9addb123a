#include "rpc/memory/mapping_budget.h"

#include <gtest/gtest.h>

#include <vector>

namespace ipcrpc::rpc {
namespace {

std::vector<std::shared_ptr<void>> TakeAll(uid_t uid) {
  std::vector<std::shared_ptr<void>> taken;
  while (std::shared_ptr<void> one = TakeMapping(uid)) taken.push_back(std::move(one));
  return taken;
}

TEST(MappingBudgetTest, NoUserLeavesNoneToTheOthers) {
  auto first = TakeAll(1);
  EXPECT_EQ(first.size(), kMaxMappingsOfUser);
  const auto second = TakeAll(2);
  EXPECT_EQ(second.size(), kMaxMappings - kMaxMappingsOfUser);
  EXPECT_EQ(TakeMapping(3), nullptr);
  first.pop_back();
  EXPECT_NE(TakeMapping(3), nullptr);
  EXPECT_EQ(TakeMapping(2), nullptr) << "it has its half";
}

TEST(MappingBudgetTest, WhatGoesIsFree) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(TakeAll(1).size(), kMaxMappingsOfUser);
}

}  // namespace
}  // namespace ipcrpc::rpc
