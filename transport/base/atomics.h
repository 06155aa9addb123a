// What the lock-free parts need beside std::atomic: the fence of a Dekker pair, the pause of a spin, the cycle counter.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#else
#include <time.h>
#endif

namespace ipcrpc {

// Orders everything before it against everything after it, stores against later loads too. gcc's
// ThreadSanitizer does not model atomic_thread_fence; a sequentially consistent RMW on a word of its own is as
// strong on the machines it runs on, and it sees that.
inline void Fence() {
#if defined(IPCRPC_TSAN)
  thread_local std::atomic<uint32_t> word{0};
  word.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// The fences of a seqlock; no instruction on x86. Release: what comes before it is seen by whoever sees a store that
// comes after it. Acquire: the mirror image, for loads before it and what comes after.
inline void ReleaseFence() {
#if defined(IPCRPC_TSAN)
  Fence();
#else
  std::atomic_thread_fence(std::memory_order_release);
#endif
}
inline void AcquireFence() {
#if defined(IPCRPC_TSAN)
  Fence();
#else
  std::atomic_thread_fence(std::memory_order_acquire);
#endif
}

inline void CpuRelax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

// A cheap monotonic counter; its unit is Ticks (see base/ticks.h).
inline uint64_t Ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return uint64_t(ts.tv_sec) * 1'000'000'000 + uint64_t(ts.tv_nsec);
#endif
}

static_assert(std::atomic<uint32_t>::is_always_lock_free && std::atomic<uint64_t>::is_always_lock_free);

}  // namespace ipcrpc
