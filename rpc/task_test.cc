#include "ipcrpc/task.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace ipcrpc {
namespace {

// Resumes when it is told to, on the caller's thread.
class Queue final : public Executor {
 public:
  void Schedule(std::coroutine_handle<> coroutine) override { queue_.push_back(coroutine); }
  int RunAll() {
    int ran = 0;
    for (; !queue_.empty(); ++ran) {
      const std::coroutine_handle<> next = queue_.front();
      queue_.pop_front();
      next.resume();
    }
    return ran;
  }

 private:
  std::deque<std::coroutine_handle<>> queue_;
};

Task<int> Return(int n) { co_return n; }
Task<int> Throw(const char* what) {
  throw std::runtime_error(what);
  co_return 0;
}
Task<std::unique_ptr<int>> MoveOnly() { co_return std::make_unique<int>(3); }

TEST(TaskTest, IsLazy) {
  bool ran = false;
  {
    const Task<> never = [](bool* set) -> Task<> {
      *set = true;
      co_return;
    }(&ran);
  }
  EXPECT_FALSE(ran);
}

TEST(TaskTest, GivesValuesAndExceptions) {
  EXPECT_EQ(SyncWait(Return(5)), 5);
  EXPECT_EQ(*SyncWait(MoveOnly()), 3);
  EXPECT_THROW(SyncWait(Throw("x")), std::runtime_error);
  const auto outer = []() -> Task<std::string> {
    try {
      co_await Throw("inner");
    } catch (const std::runtime_error& e) {
      co_return e.what();
    }
    co_return "nothing";
  };
  EXPECT_EQ(SyncWait(outer()), "inner");
}

TEST(TaskTest, LoopsNeedNoStack) {
  const auto loop = []() -> Task<int64_t> {
    int64_t sum = 0;
    for (int i = 0; i < 1'000'000; ++i) sum += co_await Return(1);
    co_return sum;
  };
  EXPECT_EQ(SyncWait(loop()), 1'000'000);
}

TEST(TaskTest, WhenAllGivesAllResultsInOrder) {
  const auto [one, none, two] = SyncWait(WhenAll(Return(1), []() -> Task<> { co_return; }(), Return(2)));
  EXPECT_EQ(one + two, 3);
  EXPECT_EQ(none, std::monostate());
  std::vector<Task<int>> many;
  for (int i = 0; i < 10; ++i) many.push_back(Return(i));
  EXPECT_EQ(SyncWait(WhenAll(std::move(many))), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_TRUE(SyncWait(WhenAll(std::vector<Task<int>>())).empty());
}

TEST(TaskTest, WhenAllWaitsForAllBeforeItThrows) {
  Queue queue;
  bool ended = false;
  const auto slow = [&]() -> Task<int> {
    co_await SwitchTo(&queue);
    ended = true;
    co_return 1;
  };
  std::exception_ptr thrown;
  bool told = false;
  Spawn([](Task<int> first, Task<int> second) -> Task<> { co_await WhenAll(std::move(first), std::move(second)); }(
            Throw("x"), slow()),
        [&](const std::exception_ptr& what) {
          thrown = what;
          told = true;
        });
  EXPECT_FALSE(told);
  EXPECT_EQ(queue.RunAll(), 1);
  EXPECT_TRUE(ended && told);
  EXPECT_NE(thrown, nullptr);
}

TEST(TaskTest, ExecutorsAreInheritedAndReturnedTo) {
  Queue mine, other;
  std::string said;
  const auto child = [&]() -> Task<> {
    said += "child ";
    co_await SwitchTo(&other);
    said += "other ";
  };
  const auto parent = [&]() -> Task<> {
    said += "parent ";
    co_await child();
    said += "back";
  };
  bool done = false;
  Spawn(parent(), [&](const std::exception_ptr&) { done = true; }, &mine);
  EXPECT_EQ(said, "");
  mine.RunAll();
  EXPECT_EQ(said, "parent child ");
  other.RunAll();
  EXPECT_EQ(said, "parent child other ");
  EXPECT_FALSE(done);
  mine.RunAll();
  EXPECT_EQ(said, "parent child other back");
  EXPECT_TRUE(done);
}

TEST(TaskTest, EndsOnOtherThreads) {
  struct ThreadPerHop final : Executor {
    std::vector<std::thread> threads;
    void Schedule(std::coroutine_handle<> coroutine) override {
      threads.emplace_back([coroutine] { coroutine.resume(); });
    }
    ~ThreadPerHop() override {
      for (std::thread& thread : threads) thread.join();
    }
  } threads;
  const auto hop = [&]() -> Task<int> {
    co_await SwitchTo(&threads);
    co_return 1;
  };
  const auto all = [&]() -> Task<int> {
    int sum = 0;
    for (int i = 0; i < 100; ++i) sum += co_await hop();
    co_return sum;
  };
  EXPECT_EQ(SyncWait(all()), 100);
}

TEST(TaskTest, ASuspendedTaskMayBeDestroyed) {
  Queue queue;
  const auto alive = std::make_shared<int>(1);
  {
    internal::Join join;
    const Task<> task = [](Queue* on, std::shared_ptr<int> kept) -> Task<> {
      co_await SwitchTo(on);
      ++*kept;
    }(&queue, alive);
    internal::Start(task, &join, nullptr);
    EXPECT_EQ(alive.use_count(), 2);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

}  // namespace
}  // namespace ipcrpc
