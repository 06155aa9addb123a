#include "transport/base/queue.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace ipcrpc {
namespace {

TEST(QueueTest, IsWhatADequeIs) {
  std::minstd_rand random(1);
  Queue<std::string> queue;
  std::deque<std::string> expected;
  for (int i = 0; i < 100'000; ++i) {
    // Sometimes it grows for a while, sometimes it runs empty.
    const bool grows = random() % 1000 < (i / 5000 % 2 == 0 ? 600u : 400u);
    if (grows) {
      queue.emplace_back(std::to_string(i));
      expected.push_back(std::to_string(i));
    } else if (!expected.empty()) {
      queue.pop_front();
      expected.pop_front();
    }
    ASSERT_EQ(queue.size(), expected.size());
    ASSERT_EQ(queue.empty(), expected.empty());
    if (!expected.empty()) {
      ASSERT_EQ(queue.front(), expected.front());
    }
    if (i % 1000 == 0) {
      ASSERT_TRUE(std::equal(queue.begin(), queue.end(), expected.begin(), expected.end()));
    }
  }
}

TEST(QueueTest, LetsGoOfWhatLeaves) {
  const auto thing = std::make_shared<int>(7);
  Queue<std::shared_ptr<int>> queue;
  for (int i = 0; i < 100; ++i) queue.push_back(thing);
  for (int i = 100; i > 0; --i) {
    EXPECT_EQ(thing.use_count(), 1 + i);
    queue.pop_front();
  }
  EXPECT_EQ(thing.use_count(), 1);
  queue.push_back(thing);
  queue.push_back(thing);
  queue.clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(thing.use_count(), 1);
}

}  // namespace
}  // namespace ipcrpc
