// Task<T>: a coroutine that starts when it is awaited, and whose end its awaiter gets: a value or an exception. Needs
// nothing of the library.
//
//   ipcrpc::Task<int> Twice(int n) { co_return 2 * n; }
//   ipcrpc::Task<int> Sum() { co_return co_await Twice(1) + co_await Twice(2); }
//   int six = ipcrpc::SyncWait(Sum());
//
// A task that has begun runs to its end wherever what it awaits resumes it; an Executor of the user's changes that.
// It may be destroyed while it is suspended, and where nothing can resume it meanwhile: its executor has stopped, or the
// destroyer is what would have resumed it. What it awaits of this library then lets go of it, and cancels its call.
#pragma once

#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace ipcrpc {

// Where coroutines go on. Thread-safe.
class Executor {
 public:
  virtual ~Executor() = default;
  // Resumes the coroutine soon, once. Must not throw; called on threads of the library, so it should not block.
  virtual void Schedule(std::coroutine_handle<> coroutine) = 0;
};

template <class T>
class Task;

namespace internal {

// What the end of coroutines leads to, once all that count have counted down: the last one of the children and of whoever
// starts them. Counting is what makes a child that ends at once return to its starter instead of resuming it from within
// itself, so that loops need no stack, whether or not the compiler makes a tail call of the transfer.
struct Join {
  std::atomic<size_t> left{1};
  std::coroutine_handle<> parent = nullptr;
  Executor* executor = nullptr;         // of the parent, if it has one
  void (*ended)(Join* join) = nullptr;  // instead of a parent

  bool CountDown() { return left.fetch_sub(1, std::memory_order_acq_rel) == 1; }
};

// What is known of every coroutine of ours.
struct PromiseBase {
  Executor* executor = nullptr;  // null: wherever it is resumed
  Join* join = nullptr;
  std::exception_ptr exception;

  struct AtEnd {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      // The coroutine may be gone as soon as it has counted down.
      Join* const waiting = self.promise().join;
      Executor* const here = self.promise().executor;
      if (!waiting->CountDown()) return std::noop_coroutine();
      if (waiting->ended != nullptr) {
        waiting->ended(waiting);
        return std::noop_coroutine();
      }
      if (waiting->executor == nullptr || waiting->executor == here) return waiting->parent;
      waiting->executor->Schedule(waiting->parent);
      return std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };

  std::suspend_always initial_suspend() noexcept { return {}; }
  AtEnd final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { exception = std::current_exception(); }
};

// The executor of any coroutine: null for those of other libraries.
template <class Promise>
Executor* ExecutorOf(std::coroutine_handle<Promise> coroutine) {
  if constexpr (std::is_base_of_v<PromiseBase, Promise>) return coroutine.promise().executor;
  return nullptr;
}

template <class T>
struct TaskPromise final : PromiseBase {
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T Take() {
    if (exception != nullptr) std::rethrow_exception(exception);
    return *std::move(value);
  }
  std::optional<T> value;
};

template <>
struct TaskPromise<void> final : PromiseBase {
  inline Task<void> get_return_object();
  void return_void() noexcept {}
  void Take() {
    if (exception != nullptr) std::rethrow_exception(exception);
  }
};

}  // namespace internal

// Movable; owns its coroutine. To be awaited once.
template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::TaskPromise<T>;
  using value_type = T;

  Task() = default;
  explicit Task(std::coroutine_handle<promise_type> coroutine) : coroutine_(coroutine) {}
  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
  Task& operator=(Task&& other) noexcept {
    Task old(std::move(*this));
    coroutine_ = std::exchange(other.coroutine_, {});
    return *this;
  }
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  // Runs it and gives its result, or throws what it threw.
  class Awaiter {
   public:
    explicit Awaiter(std::coroutine_handle<promise_type> child) : child_(child) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    bool await_ready() noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) {
      join_.parent = parent;
      join_.executor = internal::ExecutorOf(parent);
      child_.promise().join = &join_;
      child_.promise().executor = join_.executor;
      child_.resume();
      return !join_.CountDown();  // ended by now: go on at once
    }
    T await_resume() { return child_.promise().Take(); }

   private:
    internal::Join join_{.left = 2};
    const std::coroutine_handle<promise_type> child_;
  };
  Awaiter operator co_await() && noexcept { return Awaiter(coroutine_); }

  // For what runs tasks without being a coroutine; the task stays the owner.
  std::coroutine_handle<promise_type> coroutine() const { return coroutine_; }

 private:
  std::coroutine_handle<promise_type> coroutine_;
};

namespace internal {

template <class T>
Task<T> TaskPromise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

inline Task<void> TaskPromise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

// Begins a task whose end is told to `join`, on the executor if there is one.
template <class T>
void Start(const Task<T>& task, Join* join, Executor* executor) {
  task.coroutine().promise().join = join;
  task.coroutine().promise().executor = executor;
  if (executor != nullptr) {
    executor->Schedule(task.coroutine());
  } else {
    task.coroutine().resume();
  }
}

}  // namespace internal

// co_await SwitchTo(&executor): this coroutine goes on there, and so it does after all that it awaits from now on. Tasks that
// it awaits inherit that. Null: where it happens to be.
class SwitchTo {
 public:
  explicit SwitchTo(Executor* executor) : executor_(executor) {}
  bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> coroutine) {
    if constexpr (std::is_base_of_v<internal::PromiseBase, Promise>) coroutine.promise().executor = executor_;
    if (executor_ == nullptr) return false;
    executor_->Schedule(coroutine);
    return true;
  }
  void await_resume() noexcept {}

 private:
  Executor* const executor_;
};

// Runs the task and blocks until it has ended; its result, or what it threw. Never on a thread that has to resume the task:
// in a reaction or another coroutine.
template <class T>
T SyncWait(Task<T> task, Executor* executor = nullptr) {
  struct Waiting : internal::Join {
    std::mutex mu;
    std::condition_variable changed;
    bool done = false;
  } waiting;
  waiting.ended = [](internal::Join* join) {
    auto* const self = static_cast<Waiting*>(join);
    std::lock_guard lock(self->mu);
    self->done = true;
    self->changed.notify_all();
  };
  internal::Start(task, &waiting, executor);
  std::unique_lock lock(waiting.mu);
  waiting.changed.wait(lock, [&] { return waiting.done; });
  return task.coroutine().promise().Take();
}

// Runs the task on its own, and tells `on_done(std::exception_ptr)` of its end, null when it has thrown nothing. The task is
// destroyed before. `on_done` must not throw.
template <class OnDone>
void Spawn(Task<void> task, OnDone on_done, Executor* executor = nullptr) {
  struct Running : internal::Join {
    explicit Running(Task<void>&& started, OnDone&& told) : task(std::move(started)), on_done(std::move(told)) {}
    Task<void> task;
    OnDone on_done;
  };
  auto* const running = new Running(std::move(task), std::move(on_done));
  running->ended = [](internal::Join* join) {
    auto* const self = static_cast<Running*>(join);
    const std::exception_ptr thrown = std::move(self->task.coroutine().promise().exception);
    self->task = Task<void>();
    OnDone told = std::move(self->on_done);
    delete self;
    told(thrown);
  };
  internal::Start(running->task, running, executor);
}

// The same for a task that nobody hears of again; an exception ends the process, as on a thread.
inline void Spawn(Task<void> task, Executor* executor = nullptr) {
  Spawn(
      std::move(task), [](const std::exception_ptr& thrown) { thrown != nullptr ? std::terminate() : void(); }, executor);
}

namespace internal {

// Starts all, goes on when all have ended.
class AllEnd {
 public:
  explicit AllEnd(std::vector<std::pair<std::coroutine_handle<>, PromiseBase*>> children) : children_(std::move(children)) {}
  AllEnd(const AllEnd&) = delete;
  AllEnd& operator=(const AllEnd&) = delete;
  bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    join_.left = children_.size() + 1;
    join_.parent = parent;
    join_.executor = ExecutorOf(parent);
    for (auto& [child, promise] : children_) {
      promise->join = &join_;
      promise->executor = join_.executor;
    }
    for (auto& [child, promise] : children_) child.resume();
    return !join_.CountDown();
  }
  void await_resume() noexcept {}

 private:
  std::vector<std::pair<std::coroutine_handle<>, PromiseBase*>> children_;
  Join join_;
};

template <class T>
std::pair<std::coroutine_handle<>, PromiseBase*> ChildOf(const Task<T>& task) {
  return {task.coroutine(), &task.coroutine().promise()};
}

// A result where void has none.
template <class T>
auto TakeOf(const Task<T>& task) {
  if constexpr (std::is_void_v<T>) {
    task.coroutine().promise().Take();
    return std::monostate();
  } else {
    return task.coroutine().promise().Take();
  }
}

template <class... T>
using ResultsOf = std::tuple<std::conditional_t<std::is_void_v<T>, std::monostate, T>...>;

}  // namespace internal

// All of them at once; waits until all have ended, then gives their results in order (std::monostate for void), or throws
// the first in order that was thrown.
template <class... T>
Task<internal::ResultsOf<T...>> WhenAll(Task<T>... tasks) {
  internal::AllEnd all({internal::ChildOf(tasks)...});
  co_await all;
  co_return internal::ResultsOf<T...>{internal::TakeOf(tasks)...};
}

template <class T>
Task<std::vector<T>> WhenAll(std::vector<Task<T>> tasks) {
  std::vector<std::pair<std::coroutine_handle<>, internal::PromiseBase*>> children;
  for (const Task<T>& task : tasks) children.push_back(internal::ChildOf(task));
  internal::AllEnd all(std::move(children));
  co_await all;
  std::vector<T> results;
  for (const Task<T>& task : tasks) results.push_back(internal::TakeOf(task));
  co_return results;
}

inline Task<void> WhenAll(std::vector<Task<void>> tasks) {
  std::vector<std::pair<std::coroutine_handle<>, internal::PromiseBase*>> children;
  for (const Task<void>& task : tasks) children.push_back(internal::ChildOf(task));
  internal::AllEnd all(std::move(children));
  co_await all;
  for (const Task<void>& task : tasks) internal::TakeOf(task);
}

}  // namespace ipcrpc
