#include "transport/base/company.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace ipcrpc {
namespace {

TEST(PatienceTest, FindsWhatAnotherThreadBrings) {
  // Any one of them may come too late.
  bool found = false;
  for (int i = 0; i < 1000 && !found; ++i) {
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
  EXPECT_TRUE(found);
}

TEST(PatienceTest, GivesUpAndIsNoCompanyAfterwards) {
  Patience patience;
  uint32_t most = 0;
  EXPECT_FALSE(patience.AwaitShortly([&] {
    most = std::max(most, company.load());
    return false;
  }));
  EXPECT_EQ(most, 1u);
  EXPECT_EQ(company.load(), 0u);
}

TEST(PatienceTest, DoesNotTryWhereWaitsAreLong) {
  Patience patience;
  const auto wait = [&patience](int* looks) {
    if (patience.AwaitShortly([looks] { return ++*looks, false; })) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    patience.NoteSlept();
  };
  int looks = 0;
  for (int i = 0; i < 40; ++i) wait(&looks);
  EXPECT_GT(looks, 0);
  int tries = 0;
  for (int i = 0; i < 320; ++i) {
    looks = 0;
    wait(&looks);
    tries += looks > 0;
  }
  // Now and then, in case it has changed.
  EXPECT_GT(tries, 0);
  EXPECT_LE(tries, 10);
}

}  // namespace
}  // namespace ipcrpc
