// A lock for the path of every call: taken and given back in one instruction each while nobody else wants it. Not for users.
//
// std::mutex is a call into another library each way, which on the path of a call that takes half a microsecond is seen.
// For what is held for a moment only. Not recursive, not fair. After "mutex3" of Ulrich Drepper's "Futexes Are Tricky".
#pragma once

#include <atomic>
#include <cstdint>

#include "ipcrpc/export.h"

namespace ipcrpc::internal {

class IPCRPC_EXPORT Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() {
    uint32_t free = kFree;
    if (!word_.compare_exchange_strong(free, kHeld, std::memory_order_acquire, std::memory_order_relaxed)) [[unlikely]] LockSlowly();
  }
  bool try_lock() {
    uint32_t free = kFree;
    return word_.compare_exchange_strong(free, kHeld, std::memory_order_acquire, std::memory_order_relaxed);
  }
  void unlock() {
    if (word_.exchange(kFree, std::memory_order_release) == kWanted) [[unlikely]] WakeOne();
  }

 private:
  // The futex word. kWanted: held, and somebody sleeps or is about to.
  enum : uint32_t { kFree, kHeld, kWanted };

  void LockSlowly();
  void WakeOne();

  std::atomic<uint32_t> word_{kFree};
};

}  // namespace ipcrpc::internal
