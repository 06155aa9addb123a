#include "transport/base/wake_batch.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <new>
#include <thread>

#include "transport/base/clock.h"
#include "transport/base/futex.h"

namespace ipcrpc {
namespace {

using std::chrono::milliseconds;

// A thread that sleeps on a word until it is woken, once.
class SleepingThread {
 public:
  SleepingThread() : thread_([this] {
    asleep_ = true;
    FutexWait(&word_, 0, FutexScope::kPrivate, kNoDeadline);
    woken_ = true;
  }) {
    while (!asleep_) std::this_thread::yield();
    std::this_thread::sleep_for(milliseconds(20));  // a thread that is late does not sleep at all, once the word has changed
  }
  ~SleepingThread() { thread_.join(); }

  const std::atomic<uint32_t>* word() const { return &word_; }
  bool woken() const { return woken_; }
  // As whoever leaves something does.
  void Wake() {
    word_ = 1;
    WakeSleepers(&word_);
  }

 private:
  std::atomic<uint32_t> word_{0};
  std::atomic<bool> asleep_{false}, woken_{false};
  std::thread thread_;
};

TEST(WakeBatchTest, WithoutOneAThreadIsWokenAtOnce) {
  SleepingThread sleeper;
  sleeper.Wake();
}  // joined

TEST(WakeBatchTest, ThreadsAreWokenAtTheEndOfTheOutermostOne) {
  SleepingThread sleeper;
  {
    WakeBatch outer;
    {
      WakeBatch inner;
      sleeper.Wake();
      sleeper.Wake();  // twice is once
    }
    std::this_thread::sleep_for(milliseconds(60));
    EXPECT_FALSE(sleeper.woken());
  }
}

TEST(WakeBatchTest, NobodyIsForgottenWhereThereAreMany) {
  std::deque<SleepingThread> sleepers(40);
  WakeBatch batch;
  for (SleepingThread& sleeper : sleepers) sleeper.Wake();
}

TEST(WakeBatchTest, OneOfAnotherThreadIsNotItsBusiness) {
  SleepingThread sleeper;
  WakeBatch batch;
  std::thread([&] { sleeper.Wake(); }).join();
  while (!sleeper.woken()) std::this_thread::yield();
}

TEST(WakeBatchTest, AWordMayBeGoneByThen) {
  void* const page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  const auto* const word = new (page) std::atomic<uint32_t>(0);
  WakeBatch batch;
  WakeSleepers(word);
  munmap(page, 4096);
}

}  // namespace
}  // namespace ipcrpc
