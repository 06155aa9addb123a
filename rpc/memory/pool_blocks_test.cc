#include "rpc/memory/pool_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace ipcrpc::internal {
namespace {

constexpr size_t kBytes = 16 * 4096;

std::shared_ptr<PoolBlocks> Blocks() {
  auto region = rpc::SharedRegion::MakePool(kBytes);
  EXPECT_TRUE(region.ok()) << region.status();
  return std::make_shared<PoolBlocks>(*std::move(region));
}

// Its one free run is all of it again.
void ExpectWhole(PoolBlocks& blocks) {
  EXPECT_EQ(blocks.used(), 0u);
  EXPECT_NE(blocks.Take(kBytes), nullptr) << "free runs were not joined";
}

TEST(PoolBlocksTest, BlocksAreAlignedInsideAndApart) {
  const auto blocks = Blocks();
  const std::byte* const begin = blocks->region().data();
  std::vector<std::pair<const std::byte*, size_t>> taken;
  std::vector<std::shared_ptr<std::byte>> kept;
  for (const size_t size : {1u, 64u, 65u, 4096u, 10'000u, 63u, 128u}) {
    kept.push_back(blocks->Take(size));
    ASSERT_NE(kept.back(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(kept.back().get()) % PoolBlocks::kGranule, 0u);
    taken.emplace_back(kept.back().get(), size);
  }
  std::sort(taken.begin(), taken.end());
  EXPECT_GE(taken.front().first, begin);
  EXPECT_LE(taken.back().first + taken.back().second, begin + kBytes);
  for (size_t i = 1; i < taken.size(); ++i) EXPECT_GE(taken[i].first, taken[i - 1].first + taken[i - 1].second);
  EXPECT_EQ(blocks->used(), 64u + 64 + 128 + 4096 + 10'048 + 64 + 128);
  kept.clear();
  ExpectWhole(*blocks);
}

TEST(PoolBlocksTest, GivesNothingWhereNothingFits) {
  const auto blocks = Blocks();
  EXPECT_EQ(blocks->Take(0), nullptr);
  EXPECT_EQ(blocks->Take(kBytes + 1), nullptr);
  EXPECT_EQ(blocks->Take(SIZE_MAX), nullptr);
  const std::shared_ptr<std::byte> all = blocks->Take(kBytes);
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(blocks->used(), kBytes);
  EXPECT_EQ(blocks->Take(1), nullptr);
}

TEST(PoolBlocksTest, WhatComesBackIsTakenAgainAtOnce) {
  const auto blocks = Blocks();
  const auto neighbour = blocks->Take(1000);
  const std::byte* const first = blocks->Take(5000).get();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(blocks->Take(5000).get(), first);
}

// Eight blocks that fill the pool come back in every order.
TEST(PoolBlocksTest, NeighboursAreJoinedInWhateverOrderTheyComeBack) {
  const auto blocks = Blocks();
  std::vector<size_t> order = {0, 1, 2, 3, 4, 5, 6, 7};
  do {
    std::vector<std::shared_ptr<std::byte>> eighths;
    for (size_t i = 0; i < order.size(); ++i) eighths.push_back(blocks->Take(kBytes / 8));
    ASSERT_EQ(blocks->used(), kBytes);
    for (const size_t i : order) eighths[i] = nullptr;
    ASSERT_NE(blocks->Take(kBytes), nullptr);
  } while (std::next_permutation(order.begin(), order.end()));
}

// No byte is two blocks' at once, and none gets lost.
TEST(PoolBlocksTest, RandomTakingAndReturningKeepsBlocksApart) {
  const auto blocks = Blocks();
  std::mt19937 random(7);
  std::vector<std::pair<std::shared_ptr<std::byte>, size_t>> taken;
  std::vector<bool> mine(kBytes / PoolBlocks::kGranule);
  const auto mark = [&](const auto& block, bool as) {
    const auto first = static_cast<size_t>(block.first.get() - blocks->region().data()) / PoolBlocks::kGranule;
    for (size_t i = 0; i * PoolBlocks::kGranule < block.second; ++i) {
      ASSERT_NE(mine[first + i], as);
      mine[first + i] = as;
    }
  };
  size_t refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 2 == 0) {
      const size_t size = 1 + random() % (random() % 4 == 0 ? 20'000 : 500);
      if (auto block = blocks->Take(size); block != nullptr) {
        taken.emplace_back(std::move(block), size);
        mark(taken.back(), true);
      } else {
        ++refused;
      }
    } else if (!taken.empty()) {
      std::swap(taken[random() % taken.size()], taken.back());
      mark(taken.back(), false);
      taken.pop_back();
    }
    ASSERT_EQ(blocks->used(), static_cast<size_t>(std::count(mine.begin(), mine.end(), true)) * PoolBlocks::kGranule);
  }
  EXPECT_GT(refused, 0u) << "it was never full";
  taken.clear();
  ExpectWhole(*blocks);
}

TEST(PoolBlocksTest, ComeBackFromOtherThreads) {
  const auto blocks = Blocks();
  constexpr int kThreads = 4, kRounds = 3000;
  std::mutex mu;
  std::vector<std::shared_ptr<std::byte>> passed;  // from whoever took it to whoever comes next
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < kRounds; ++i) {
        const size_t size = 1 + random() % 3000;
        std::shared_ptr<std::byte> block = blocks->Take(size), old;
        if (block == nullptr) continue;
        std::memset(block.get(), t, size);
        ASSERT_TRUE(std::all_of(block.get(), block.get() + size, [t](std::byte byte) { return byte == std::byte(t); }));
        std::lock_guard lock(mu);
        passed.push_back(std::move(block));
        if (passed.size() > 8) {
          std::swap(passed[random() % passed.size()], passed.back());
          old = std::move(passed.back());
          passed.pop_back();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  passed.clear();
  ExpectWhole(*blocks);
}

TEST(PoolBlocksTest, ABlockKeepsTheMemory) {
  auto blocks = Blocks();
  const std::weak_ptr<PoolBlocks> watched = blocks;
  std::shared_ptr<std::byte> block = blocks->Take(100);
  blocks = nullptr;
  std::memset(block.get(), 1, 100);
  EXPECT_FALSE(watched.expired());
  block = nullptr;
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace ipcrpc::internal
