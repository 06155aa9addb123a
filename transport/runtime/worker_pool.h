// Threads for handlers that block: one for each that runs, up to a cap.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>

namespace ipcrpc {

// Thread-safe. Threads are made when needed and go after some idle seconds.
class WorkerPool {
 public:
  static constexpr size_t kDefaultCap = 4096;
  static constexpr std::chrono::seconds kForever{1'000'000'000};

  explicit WorkerPool(size_t cap = kDefaultCap) : cap_(cap) {}
  ~WorkerPool();  // waits for all work

  // False when `cap` workers are busy.
  [[nodiscard]] bool Submit(std::function<void()> work);
  // Waits until every thread is gone (true), or for `patience` at most; nothing may be submitted after.
  bool Join(std::chrono::seconds patience = kForever);

  size_t threads() const;

 private:
  static void* ThreadMain(void* pool);
  void Work();

  const size_t cap_;
  mutable std::mutex mu_;
  std::condition_variable work_or_stop_;
  std::condition_variable gone_;
  std::deque<std::function<void()>> queue_;
  size_t threads_ = 0;
  size_t idle_ = 0;
  bool stopping_ = false;
};

// Starts a detached thread of ours: named, with every signal blocked (they are the program's). False when the
// system refuses.
[[nodiscard]] bool StartThread(const char* name, size_t stack_bytes, void* (*main)(void*), void* argument);

}  // namespace ipcrpc
