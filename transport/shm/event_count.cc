#include "transport/shm/event_count.h"

#include <sys/socket.h>

#include "transport/base/futex.h"

namespace ipcrpc::shm {

void Waker::Wake(uint32_t word) {
  // Of two threads that see the same sleep, one wakes.
  if (last_woken_.exchange(word, std::memory_order_acq_rel) == word) return;
  wakes_.fetch_add(1, std::memory_order_relaxed);
  own_->wake_ticks.store(static_cast<uint32_t>(Ticks()), std::memory_order_relaxed);
  own_->wake_sequence.fetch_add(1, std::memory_order_release);
  if ((word & SleepWord::kKindMask) == SleepWord::kDoorbell) {
    // Full means that bytes are there already. A dead peer is seen elsewhere.
    const char byte = 'D';
    [[maybe_unused]] ssize_t ignored = send(control_fd_, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  if (bell_ != nullptr) {
    bell_->Ring();
  } else {
    FutexWake(&own_->wake_sequence, FutexScope::kShared, 1);
  }
}

}  // namespace ipcrpc::shm
