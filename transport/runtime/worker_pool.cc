#include "transport/runtime/worker_pool.h"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <memory>
#include <utility>

#include "transport/base/own_thread.h"

namespace ipcrpc {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStackBytes = 1024 * 1024;
#else
constexpr size_t kStackBytes = 256 * 1024;
#endif
constexpr auto kIdle = std::chrono::seconds(5);

struct Start {
  void* (*main)(void*);
  void* argument;
};

void* OwnThreadMain(void* start) {
  const Start copy = *static_cast<Start*>(start);
  delete static_cast<Start*>(start);
  is_own_thread = true;
  return copy.main(copy.argument);
}

}  // namespace

bool StartThread(const char* name, size_t stack_bytes, void* (*main)(void*), void* argument) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (stack_bytes != 0) pthread_attr_setstacksize(&attributes, stack_bytes);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  auto start = std::make_unique<Start>(Start{main, argument});
  const int error = pthread_create(&thread, &attributes, OwnThreadMain, start.get());
  if (error == 0) start.release(), pthread_setname_np(thread, name);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return error == 0;
}

WorkerPool::~WorkerPool() { Join(); }

bool WorkerPool::Submit(std::function<void()> work) {
  std::unique_lock lock(mu_);
  if (stopping_) return false;
  if (idle_ <= queue_.size()) {
    if (threads_ >= cap_) return false;
    ++threads_;
    if (!StartThread("ipcrpc-work", kStackBytes, &WorkerPool::ThreadMain, this)) {
      --threads_;
      return false;
    }
  }
  queue_.push_back(std::move(work));
  work_or_stop_.notify_one();
  return true;
}

bool WorkerPool::Join(std::chrono::seconds patience) {
  std::unique_lock lock(mu_);
  stopping_ = true;
  work_or_stop_.notify_all();
  return gone_.wait_for(lock, patience, [this] { return threads_ == 0; });
}

size_t WorkerPool::threads() const {
  std::lock_guard lock(mu_);
  return threads_;
}

void* WorkerPool::ThreadMain(void* pool) {
  static_cast<WorkerPool*>(pool)->Work();
  return nullptr;
}

void WorkerPool::Work() {
  std::unique_lock lock(mu_);
  for (;;) {
    if (queue_.empty()) {
      ++idle_;
      const bool woken = work_or_stop_.wait_for(lock, kIdle, [this] { return !queue_.empty() || stopping_; });
      --idle_;
      if (!woken || queue_.empty()) break;
    }
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    work = nullptr;  // its captures go before this thread counts as free
    lock.lock();
  }
  // Told under the lock: after it the pool may be gone.
  --threads_;
  gone_.notify_all();
}

}  // namespace ipcrpc
