#include "rpc/memory/abandoned.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "ipcrpc/memory_pool.h"
#include "transport/base/process.h"

namespace ipcrpc::rpc {
namespace {

// Another process, which does nothing until it is ended.
class Peer {
 public:
  Peer() : pid_(fork()) {
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) pause();
    }
    start_time_ = ProcessStartTime(pid_);
    EXPECT_NE(start_time_, 0u);
  }
  ~Peer() { End(); }

  void End() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    EXPECT_EQ(waitpid(pid_, nullptr, 0), pid_);
    pid_ = -1;
  }
  pid_t pid() const { return pid_; }
  uint64_t start_time() const { return start_time_; }

 private:
  pid_t pid_;
  uint64_t start_time_ = 0;
};

class AbandonedTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(MemoryPool::Create(64 * 1024, &pool_).ok()); }

  std::vector<Slice> Slices(size_t count) {
    std::vector<Slice> slices;
    for (size_t i = 0; i < count; ++i) slices.push_back(pool_->Take(4096).Seal());
    return slices;
  }

  std::unique_ptr<MemoryPool> pool_;
};

TEST_F(AbandonedTest, AreKeptUntilTheProcessHasEnded) {
  Peer one, two;
  AbandonTo(Slices(2), one.pid(), one.start_time());
  AbandonTo(Slices(1), two.pid(), two.start_time());
  AbandonTo(Slices(1), one.pid(), one.start_time());  // another connection of it
  FreeAbandonedLoans();
  EXPECT_EQ(pool_->used(), 4 * 4096u);
  one.End();
  FreeAbandonedLoans();
  EXPECT_EQ(pool_->used(), 4096u);
  two.End();
  AbandonTo({}, getpid(), ProcessStartTime(getpid()));
  EXPECT_EQ(pool_->used(), 0u) << "leaving something sweeps, too";
}

TEST_F(AbandonedTest, ALaterProcessOfTheSamePidDoesNotCount) {
  AbandonTo(Slices(1), getpid(), ProcessStartTime(getpid()) - 1);
  EXPECT_EQ(pool_->used(), 0u);
}

TEST_F(AbandonedTest, AFullPoolGetsThemBack) {
  Peer peer;
  AbandonTo(Slices(16), peer.pid(), peer.start_time());
  Loan loan = pool_->Take(4096);
  EXPECT_EQ(pool_->used(), pool_->size()) << "while it lives there is private memory";
  peer.End();
  loan = pool_->Take(3 * 4096);
  EXPECT_EQ(pool_->used(), 3 * 4096u);
}

// What is destroyed then may be users' code, which may use pools.
TEST_F(AbandonedTest, TheirEndMayFreeOthers) {
  Peer peer;
  static int ended;
  ended = 0;
  char byte = 0;
  std::vector<Slice> slices;
  slices.emplace_back(&byte, 1, [](void*) {
    ++ended;
    FreeAbandonedLoans();
  });
  AbandonTo(std::move(slices), peer.pid(), peer.start_time());
  EXPECT_EQ(ended, 0);
  peer.End();
  FreeAbandonedLoans();
  EXPECT_EQ(ended, 1);
}

}  // namespace
}  // namespace ipcrpc::rpc
