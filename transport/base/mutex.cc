#include "ipcrpc/internal/mutex.h"

#include "transport/base/atomics.h"
#include "transport/base/clock.h"
#include "transport/base/futex.h"
#include "transport/base/spin.h"

namespace ipcrpc::internal {
namespace {

// What it takes somebody else to do the little that is done under such a lock; a sleep and a wake cost many times that.
constexpr int kLooks = 64;

}  // namespace

void Mutex::LockSlowly() {
  const int looks = OneProcessorAllowed() ? 0 : kLooks;
  for (int i = 0; i < looks; ++i) {
    if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
    CpuRelax();
  }
  // Whoever has slept takes it as wanted: there may be others.
  while (word_.exchange(kWanted, std::memory_order_acquire) != kFree) {
    FutexWait(&word_, kWanted, FutexScope::kPrivate, kNoDeadline);
  }
}

void Mutex::WakeOne() { FutexWake(&word_, FutexScope::kPrivate, 1); }

}  // namespace ipcrpc::internal
