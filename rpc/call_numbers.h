// The numbers that a client gives its calls on one connection: 1, 2, 3 and so on, and after the greatest that fits a frame from 1
// again. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

namespace ipcrpc::rpc {

class CallNumbers {
 public:
  explicit CallNumbers(uint64_t given = 0) : given_(given) {}

  // Never 0. Once they have come round, an older call may still have it.
  uint32_t Next() {
    for (;;) {
      if (const auto number = static_cast<uint32_t>(given_.fetch_add(1, std::memory_order_relaxed) + 1); number != 0) return number;
    }
  }
  bool came_round() const { return given() > UINT32_MAX; }
  // Some call had it, or has.
  bool Given(uint32_t number) const { return number != 0 && number <= given(); }

 private:
  uint64_t given() const { return given_.load(std::memory_order_relaxed); }

  std::atomic<uint64_t> given_;
};

}  // namespace ipcrpc::rpc
