#include "transport/base/wake_batch.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <fstream>
#include <new>
#include <string>
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
    id_ = gettid();
    FutexWait(&word_, 0, FutexScope::kPrivate, kNoDeadline);
    woken_ = true;
  }) {
    // One that is late does not sleep at all, once the word has changed.
    while (!Asleep()) std::this_thread::yield();
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
  bool Asleep() const {
    std::ifstream file("/proc/self/task/" + std::to_string(id_) + "/syscall");
    long number = -1;
    file >> number;  // "running" is none
    return file && number == SYS_futex;
  }

  std::atomic<uint32_t> word_{0};
  std::atomic<pid_t> id_{0};
  std::atomic<bool> woken_{false};
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
    std::this_thread::sleep_for(milliseconds(60));  // in which it would have come to it
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
