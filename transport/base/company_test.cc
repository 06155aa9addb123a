#include "transport/base/company.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace ipcrpc {
namespace {

// A try may come to nothing where the processor is given to somebody else for long: then one looks at another.

TEST(PatienceTest, FindsWhatAnotherThreadBrings) {
  bool found = false;
  while (!found) {
    Patience patience;
    std::atomic<bool> begun{false}, brought{false};
    std::thread bringer([&] {
      while (!begun) std::this_thread::yield();
      brought = true;
    });
    found = patience.AwaitShortly([&] {
      begun = true;
      return brought.load();
    });
    begun = true;
    bringer.join();
  }
}

TEST(PatienceTest, IsCompanyWhileItWaitsAndNotAfterwards) {
  uint32_t most = 0;
  while (most == 0) {
    Patience patience;
    EXPECT_FALSE(patience.AwaitShortly([&] {
      most = std::max(most, company.load());
      return false;
    }));
    EXPECT_EQ(company.load(), 0u);
  }
  EXPECT_EQ(most, 1u);
}

// On a clock of its own.
class PatienceLearns : public testing::Test {
 protected:
  int TriesOf(int waits, uint64_t us) {
    int tries = 0;
    for (int i = 0; i < waits; ++i) {
      tries += patience_.WorthATry(now_) ? 1 : 0;
      now_ += us * TicksPerMicrosecond();
      patience_.NoteWait(now_);
    }
    return tries;
  }

 private:
  Patience patience_;
  uint64_t now_ = uint64_t{1} << 40;
};

TEST_F(PatienceLearns, ToTryWhereWaitsAreShort) { EXPECT_EQ(TriesOf(320, 10), 320); }

TEST_F(PatienceLearns, NotToTryWhereWaitsAreLongButNowAndThen) {
  TriesOf(40, 1000);
  EXPECT_EQ(TriesOf(320, 1000), 10);
}

TEST_F(PatienceLearns, ToTryAgainOnceTheyAreShort) {
  TriesOf(40, 1000);
  TriesOf(20, 10);
  EXPECT_EQ(TriesOf(32, 10), 32);
}

}  // namespace
}  // namespace ipcrpc
