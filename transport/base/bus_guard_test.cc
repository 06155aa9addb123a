#include "transport/base/bus_guard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csetjmp>
#include <thread>
#include <vector>

#include "transport/testing/child.h"

namespace ipcrpc {
namespace {

constexpr size_t kSize = 16 * 4096;

// A mapping of a file that can be cut short.
class MappedFile {
 public:
  MappedFile() : fd_(memfd_create("bus-guard-test", MFD_CLOEXEC)) {
    if (ftruncate(fd_, kSize) != 0) abort();
    data_ = static_cast<char*>(mmap(nullptr, kSize, PROT_READ, MAP_SHARED, fd_, 0));
    if (pwrite(fd_, "full", 4, 4096) != 4) abort();
  }
  ~MappedFile() {
    munmap(data_, kSize);
    close(fd_);
  }
  void Cut() {
    if (ftruncate(fd_, 0) != 0) abort();
  }
  const volatile char* data() const { return data_; }
  char* address() const { return data_; }

 private:
  int fd_;
  char* data_;
};

std::atomic<int> foreign{0};
sigjmp_buf out;
void CountAndLeave(int) {
  ++foreign;
  siglongjmp(out, 1);
}
void CountInfo(int, siginfo_t*, void*) { ++foreign; }

class BusGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    sigaction(SIGBUS, nullptr, &before_);
    foreign = 0;
  }
  void TearDown() override { sigaction(SIGBUS, &before_, nullptr); }
  struct sigaction before_;
};

TEST_F(BusGuardTest, WhatIsGoneReadsAsZeros) {
  MappedFile file;
  BusGuard guard(file.address(), kSize, BusGuard::Access::kRead);
  EXPECT_EQ(file.data()[4096], 'f');
  EXPECT_FALSE(guard.broken());
  file.Cut();
  EXPECT_EQ(file.data()[4096], 0);
  EXPECT_TRUE(guard.broken());
  EXPECT_EQ(file.data()[kSize - 1], 0);
}

TEST_F(BusGuardTest, OnlyTheBrokenOneIsBroken) {
  MappedFile one, two;
  BusGuard first(one.address(), kSize, BusGuard::Access::kRead),
      second(two.address(), kSize, BusGuard::Access::kRead);
  one.Cut();
  EXPECT_EQ(one.data()[4096], 0);
  EXPECT_TRUE(first.broken());
  EXPECT_EQ(two.data()[4096], 'f');
  EXPECT_FALSE(second.broken());
}

TEST_F(BusGuardTest, EveryThreadIsGuarded) {
  for (int round = 0; round < 50; ++round) {
    MappedFile file;
    BusGuard guard(file.address(), kSize, BusGuard::Access::kRead);
    std::atomic<bool> go{false};
    std::atomic<int> zeros{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        go.wait(false);
        while (file.data()[4096] != 0) {
        }
        ++zeros;
      });
    }
    go = true;
    go.notify_all();
    file.Cut();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(zeros, 4);
    EXPECT_TRUE(guard.broken());
  }
}

TEST_F(BusGuardTest, AGuardedRangeIsUsedAgain) {
  for (int i = 0; i < 1000; ++i) {
    MappedFile file;
    BusGuard guard(file.address(), kSize, BusGuard::Access::kRead);
    BusGuard moved = std::move(guard);
    EXPECT_FALSE(guard.broken());
    if (i % 2 == 0) {
      file.Cut();
      EXPECT_EQ(file.data()[0], 0);
    }
    EXPECT_EQ(moved.broken(), i % 2 == 0);
  }
}

TEST_F(BusGuardTest, WhatIsNotOursGoesToTheHandlerBefore) {
  struct sigaction theirs = {};
  theirs.sa_handler = CountAndLeave;
  theirs.sa_flags = SA_NODEFER;
  sigaction(SIGBUS, &theirs, nullptr);
  MappedFile ours, not_ours;
  {
    BusGuard guard(ours.address(), kSize, BusGuard::Access::kRead);
    not_ours.Cut();
    if (sigsetjmp(out, 1) == 0) {
      (void)not_ours.data()[0];
      FAIL() << "no signal came";
    }
    EXPECT_EQ(foreign, 1);
    EXPECT_FALSE(guard.broken());
    ours.Cut();
    EXPECT_EQ(ours.data()[0], 0);
    EXPECT_EQ(foreign, 1);
  }
  struct sigaction after;
  sigaction(SIGBUS, nullptr, &after);
  EXPECT_EQ(after.sa_handler, CountAndLeave) << "theirs is back";
}

TEST_F(BusGuardTest, ASignalThatWasSentGoesToTheHandlerBefore) {
  struct sigaction theirs = {};
  theirs.sa_sigaction = CountInfo;
  theirs.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &theirs, nullptr);
  MappedFile file;
  BusGuard guard(file.address(), kSize, BusGuard::Access::kRead);
  raise(SIGBUS);
  EXPECT_EQ(foreign, 1);
}

TEST_F(BusGuardTest, AHandlerThatCameAfterOursIsLeftAlone) {
  struct sigaction theirs = {}, ours, now;
  theirs.sa_sigaction = CountInfo;
  theirs.sa_flags = SA_SIGINFO;
  MappedFile file;
  {
    BusGuard guard(file.address(), kSize, BusGuard::Access::kRead);
    sigaction(SIGBUS, &theirs, &ours);
  }
  sigaction(SIGBUS, nullptr, &now);
  EXPECT_EQ(now.sa_sigaction, CountInfo);

  sigaction(SIGBUS, &ours, nullptr);
  { BusGuard guard(file.address(), kSize, BusGuard::Access::kRead); }
  sigaction(SIGBUS, nullptr, &now);
  EXPECT_EQ(now.sa_sigaction, before_.sa_sigaction) << "once it is gone, all is as it was";
}

TEST_F(BusGuardTest, GuardsAgainAfterAProgramPutsBackTheStandardAction) {
  MappedFile file;
  BusGuard first(file.address(), kSize, BusGuard::Access::kRead);
  signal(SIGBUS, SIG_DFL);
  MappedFile other;
  BusGuard second(other.address(), kSize, BusGuard::Access::kRead);
  file.Cut();
  EXPECT_EQ(file.data()[0], 0);
}

// The standard action, which is to die.
TEST_F(BusGuardTest, WithoutAnotherHandlerTheProcessDiesAsItWould) {
  const auto dies = [](bool sent) {
    Child child([sent] {
      signal(SIGBUS, SIG_DFL);
      MappedFile ours, not_ours;
      BusGuard guard(ours.address(), kSize, BusGuard::Access::kRead);
      not_ours.Cut();
      if (sent) {
        raise(SIGBUS);
      } else {
        (void)not_ours.data()[0];
      }
      return 0;
    });
    return child.Wait();
  };
  EXPECT_EQ(dies(false), -SIGBUS);
  EXPECT_EQ(dies(true), -SIGBUS);
}

}  // namespace
}  // namespace ipcrpc
