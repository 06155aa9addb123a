#include "transport/base/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/features.h"
#include "transport/base/log.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

constexpr int64_t kSliceNs = 20'000'000;

thread_local bool has_woken = false;

// FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC, FUTEX_WAIT a relative one.
long WaitBitset(const std::atomic<uint32_t>* word, uint32_t expected, int op_flags, int64_t deadline_ns) {
  timespec until = ToTimespec(deadline_ns);
  return syscall(SYS_futex, word, FUTEX_WAIT_BITSET | op_flags, expected,
                 deadline_ns == kNoDeadline ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
}

long Waitv(const std::atomic<uint32_t>* shared, uint32_t shared_expected, const std::atomic<uint32_t>* local,
           uint32_t local_expected, int64_t deadline_ns) {
  futex_waitv words[2] = {};
  words[0].val = shared_expected;
  words[0].uaddr = reinterpret_cast<uintptr_t>(shared);
  words[0].flags = FUTEX_32;
  words[1].val = local_expected;
  words[1].uaddr = reinterpret_cast<uintptr_t>(local);
  words[1].flags = FUTEX_32 | FUTEX_PRIVATE_FLAG;
  timespec until = ToTimespec(deadline_ns);
  return syscall(SYS_futex_waitv, words, 2, 0, deadline_ns == kNoDeadline ? nullptr : &until, CLOCK_MONOTONIC);
}

}  // namespace

void FutexWait(const std::atomic<uint32_t>* word, uint32_t expected, FutexScope scope, int64_t deadline_ns) {
  WaitBitset(word, expected, scope == FutexScope::kPrivate ? FUTEX_PRIVATE_FLAG : 0, deadline_ns);
}

bool HasFutexWaitv() {
  static const bool has = [] {
    if (!FeatureAllowed("futex_waitv")) {
      Log(LogSeverity::kInfo, "futex_waitv is switched off by IPCRPC_DISABLE: who waits for a ring looks up every 20 ms");
      return false;
    }
    std::atomic<uint32_t> word{1};  // both mismatch: EAGAIN at once where the call exists
    if (Waitv(&word, 0, &word, 0, kNoDeadline) < 0 && errno == EAGAIN) return true;
    Log(LogSeverity::kWarning,
        Cat("futex_waitv is refused here (", strerror(errno), "): who waits for a ring looks up every 20 ms"));
    return false;
  }();
  return has;
}

void FutexWaitTwo(const std::atomic<uint32_t>* shared, uint32_t shared_expected,
                  const std::atomic<uint32_t>* local, uint32_t local_expected, int64_t deadline_ns) {
  if (HasFutexWaitv()) {
    Waitv(shared, shared_expected, local, local_expected, deadline_ns);
    return;
  }
  if (local->load(std::memory_order_acquire) != local_expected) return;
  const int64_t slice_end = MonotonicNs() + kSliceNs;
  WaitBitset(shared, shared_expected, 0, std::min(deadline_ns, slice_end));
}

void FutexWake(const std::atomic<uint32_t>* word, FutexScope scope, int count) {
  const bool own = scope == FutexScope::kPrivate;
  const long woken = syscall(SYS_futex, word, FUTEX_WAKE | (own ? FUTEX_PRIVATE_FLAG : 0), count, nullptr, nullptr, 0);
  if (own && woken > 0) has_woken = true;
}

bool TakeHasWoken() { return has_woken && std::exchange(has_woken, false); }

}  // namespace ipcrpc
