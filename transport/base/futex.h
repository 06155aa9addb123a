// Sleeping on a word and waking who sleeps there. All waits may return early for no reason.
#pragma once

#include <atomic>
#include <cstdint>

namespace ipcrpc {

enum class FutexScope { kPrivate, kShared };

// Sleeps while *word == expected, until woken or `deadline_ns` (CLOCK_MONOTONIC).
void FutexWait(const std::atomic<uint32_t>* word, uint32_t expected, FutexScope scope, int64_t deadline_ns);

// Sleeps while both words have the expected values: `shared` in memory shared with another process (a read-only
// mapping will do), `local` in this process. One futex_waitv; before Linux 5.16, or where it is refused, slices of
// at most 20 ms on the shared word with a look at the local one between them.
void FutexWaitTwo(const std::atomic<uint32_t>* shared, uint32_t shared_expected,
                  const std::atomic<uint32_t>* local, uint32_t local_expected, int64_t deadline_ns);

void FutexWake(const std::atomic<uint32_t>* word, FutexScope scope, int count);

// Whether this thread has woken another one of this process since it was last asked.
bool TakeHasWoken();

// Whether FutexWaitTwo() has futex_waitv.
bool HasFutexWaitv();

}  // namespace ipcrpc
