// The clock of the measured loops: the processor's cycle counter, about 10 ns a read.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#else
#include <time.h>
#endif

namespace ipcrpc::bench {

// Waits for what comes before it in the program.
inline uint64_t Now() {
#if defined(__x86_64__)
  unsigned processor;
  return __rdtscp(&processor);
#else
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1'000'000'000 + uint64_t(now.tv_nsec);
#endif
}

inline void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

// Measured once against CLOCK_MONOTONIC, which takes 100 ms of spinning.
double TicksPerMicrosecond();

}  // namespace ipcrpc::bench
