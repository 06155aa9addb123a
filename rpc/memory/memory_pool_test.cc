#include "ipcrpc/memory_pool.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "rpc/memory/shared_region.h"

namespace ipcrpc {
namespace {

constexpr size_t kBytes = 64 * 1024;

std::unique_ptr<MemoryPool> Pool() {
  std::unique_ptr<MemoryPool> pool;
  const Status status = MemoryPool::Create(kBytes, &pool);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return pool;
}

bool IsShared(const Slice& slice) { return internal::SharedSlices::RegionOf(slice) != nullptr; }

Slice Filled(Loan loan, char letter) {
  std::memset(loan.bytes().data(), letter, loan.size());
  return std::move(loan).Seal();
}

TEST(MemoryPoolTest, ALoanIsFreeAgainWhenItGoes) {
  const auto pool = Pool();
  EXPECT_EQ(pool->size(), kBytes);
  {
    const Loan loan = pool->Take(1000);
    EXPECT_EQ(loan.size(), 1000u);
    EXPECT_EQ(loan.bytes().size(), 1000u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(loan.bytes().data()) % 64, 0u);
    EXPECT_EQ(pool->used(), 1024u);
  }
  EXPECT_EQ(pool->used(), 0u);
  Loan first = pool->Take(100);
  first = pool->Take(200);
  EXPECT_EQ(pool->used(), 256u) << "what was there before is free";
}

TEST(MemoryPoolTest, AForkedChildHasPrivateMemory) {
  const auto pool = Pool();
  const pid_t child = fork();
  if (child == 0) {
    const Slice slice = Filled(pool->Take(1000), 'c');
    _exit(!IsShared(slice) && *slice.begin() == 'c' ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(MemoryPoolTest, OneThatIsMovedAwayIsEmpty) {
  const auto pool = Pool();
  Loan loan = pool->Take(1000);
  const Loan other = std::move(loan);
  EXPECT_EQ(loan.size(), 0u);
  EXPECT_TRUE(loan.bytes().empty());
  EXPECT_EQ(other.size(), 1000u);
  Loan sealed = pool->Take(10);
  const Slice slice = std::move(sealed).Seal();
  EXPECT_EQ(sealed.size(), 0u);
  EXPECT_EQ(Loan().size(), 0u);
  EXPECT_EQ(pool->Take(0).size(), 0u);
  EXPECT_EQ(Loan().Seal().size(), 0u);
}

TEST(MemoryPoolTest, ASealedOneIsFreeAgainWithItsLastSlice) {
  const auto pool = Pool();
  Loan loan = pool->Take(1000);
  std::memcpy(loan.bytes().data(), "hello world", 11);
  Slice slice = std::move(loan).Seal(11);
  EXPECT_EQ(std::string(slice.begin(), slice.end()), "hello world");
  EXPECT_TRUE(IsShared(slice));
  Slice part = slice.sub(6, 11);
  slice = Slice();
  EXPECT_EQ(pool->used(), 1024u);
  EXPECT_EQ(std::string(part.begin(), part.end()), "world");
  EXPECT_TRUE(IsShared(part));
  part = Slice();
  EXPECT_EQ(pool->used(), 0u);
}

TEST(MemoryPoolTest, WhenThePoolHasNothingItIsPrivateMemory) {
  const auto pool = Pool();
  Slice all = Filled(pool->Take(kBytes), 'a');
  EXPECT_TRUE(IsShared(all));
  Loan further = pool->Take(1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(further.bytes().data()) % 64, 0u);
  EXPECT_EQ(pool->used(), kBytes);
  const Slice slice = Filled(std::move(further), 'b');
  EXPECT_FALSE(IsShared(slice));
  EXPECT_EQ(std::string(slice.begin(), slice.end()), std::string(1000, 'b'));
  EXPECT_EQ(std::string(all.begin(), all.end()), std::string(kBytes, 'a'));
  EXPECT_FALSE(IsShared(Filled(pool->Take(kBytes + 1), 'c'))) << "larger than the pool";
  all = Slice();
  EXPECT_TRUE(IsShared(Filled(pool->Take(1000), 'd'))) << "there is room again";
}

TEST(MemoryPoolTest, TheMemoryOutlivesThePool) {
  auto pool = Pool();
  Loan loan = pool->Take(1000);
  const Slice slice = Filled(pool->Take(2000), 'a');
  pool = nullptr;
  std::memset(loan.bytes().data(), 'b', loan.size());
  EXPECT_EQ(std::string(slice.begin(), slice.end()), std::string(2000, 'a'));
}

TEST(MemoryPoolTest, TellsWhatIsWrong) {
  std::unique_ptr<MemoryPool> pool;
  EXPECT_EQ(MemoryPool::Create(0, &pool).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(MemoryPool::Create((size_t{1} << 32) + 1, &pool).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(pool, nullptr);
  EXPECT_TRUE(MemoryPool::Create(1, &pool).ok());
  EXPECT_EQ(pool->size(), 4096u) << "whole pages";
}

}  // namespace
}  // namespace ipcrpc
