// Steps that are taken one after the other, where a step may end later and on another thread than it began.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <utility>

namespace ipcrpc::internal {

// Thread-safe. Holds no lock while a step runs, and does not touch itself after one: the step may be the end of the lane, too.
class Lane {
 public:
  // `busy`: the first Next() opens it.
  explicit Lane(bool busy = false) : busy_(busy) {}

  // Takes the step: now, or when those before it are over. Each leads to one Next().
  void Add(std::function<void()> step) {
    {
      std::lock_guard lock(mu_);
      if (busy_) return waiting_.push_back(std::move(step));
      busy_ = true;
    }
    step();
  }

  // The present step is over.
  void Next() {
    std::function<void()> step;
    {
      std::lock_guard lock(mu_);
      busy_ = !waiting_.empty();
      if (!busy_) return;
      step = std::move(waiting_.front());
      waiting_.pop_front();
    }
    step();
  }

 private:
  std::mutex mu_;
  bool busy_;
  std::deque<std::function<void()>> waiting_;
};

}  // namespace ipcrpc::internal
