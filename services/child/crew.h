// The workers of a pool, and who of them gets the next call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "ipcrpc/child.h"

namespace ipcrpc {

struct Hand {
  std::unique_ptr<SupervisedChild> child;
  std::atomic<bool> up{false};
  std::atomic<uint64_t> in_progress{0}, done{0};
};

// Thread-safe, once the workers are in.
class Crew {
 public:
  explicit Crew(size_t size) : hands_(size) {}

  std::vector<Hand>& hands() { return hands_; }
  const std::vector<Hand>& hands() const { return hands_; }

  // The least busy, with one call more; of several the next in turn. Those that are up come before those that are starting, and
  // `except`, which a call has just tried, after all others. Never null, as it may be in need of a reason why there is none.
  Hand* Take(const Hand* except);
  // Not `handed_on`: it never got the call.
  static void Return(Hand* hand, bool handed_on) {
    hand->done.fetch_add(handed_on ? 1 : 0, std::memory_order_relaxed);
    hand->in_progress.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  std::vector<Hand> hands_;
  std::mutex mu_;    // so that two calls do not both find the same one idle
  size_t turn_ = 0;
};

}  // namespace ipcrpc
