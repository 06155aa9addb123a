// Sleeping and waking across two processes that do not trust each other: an event count split in two, so
// that the sleeper never writes the waker's memory nor the waker the sleeper's.
//
//   sleeper                                   waker
//   1  w = peer.wake_sequence (acquire);      1  publish: commit a record, or move head (release)
//      has it moved: ++epoch
//   2  own.sleep = epoch | kind | reasons     2  Fence()
//   3  Fence()                                3  s = peer.sleep; asleep, for this reason, not yet woken?
//   4  look again; something there: awake     4  ++own.wake_sequence, then FUTEX_WAKE, bell or doorbell
//   5  sleep while peer.wake_sequence == w,
//      or until the bell or doorbell rings
//   6  own.sleep = epoch | awake; look again
//
// The two fences are a Dekker pair: either the sleeper's second look (4) sees what was published, or the waker (3)
// sees the sleeper. The bump before the wake closes the window between 4 and 5. A sleep word is answered once: when it
// is seen again, a bump of wake_sequence is under way or came after the arming. So the epoch moves with the peer's
// bumps and not with each sleep, of which 28 bits count too few (docs/shm.md, rules 1 and 2).
// tests/model/ has the models, and mutants without a fence, bump or second look that lose a wake-up.
// After folly's EventCount (prepareWait / recheck / wait), with the waiter's RMW on a shared word taken out.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "transport/base/atomics.h"
#include "transport/shm/bell.h"
#include "transport/shm/layout.h"

namespace ipcrpc::shm {

// Owned by the holder of the receive role.
class Sleeper {
 public:
  Sleeper(Segment* own, const Segment* peer) : own_(own), peer_(peer) {}

  void Announce(SleepWord::Kind kind, uint32_t reasons) {
    const uint32_t sequence = peer_->wake_sequence.load(std::memory_order_acquire);
    if (std::exchange(sequence_seen_, sequence) != sequence) epoch_ += SleepWord::kEpochStep;
    own_->sleep.store(epoch_ | kind | reasons, std::memory_order_relaxed);
    Fence();
  }
  void Retract() { own_->sleep.store(epoch_ | SleepWord::kAwake, std::memory_order_relaxed); }

 private:
  Segment* const own_;
  const Segment* const peer_;
  uint32_t epoch_ = 0;
  uint32_t sequence_seen_ = 0;  // of the peer's wakes, at the last arming
};

// Used by both roles: the sender wakes for data, the receiver for space.
class Waker {
 public:
  // `control_fd` takes the doorbell's byte, `bell` is the peer's, if it has one; borrowed.
  Waker(Segment* own, const Segment* peer, int control_fd, Bell* bell)
      : own_(own), peer_(peer), control_fd_(control_fd), bell_(bell) {}

  // After publishing. Costs a fence and a load while the peer is awake.
  void WakeFor(SleepWord::Reason reason) {
#if !defined(IPCRPC_MUTANT_NO_FENCE)  // tests/mutant/ takes it away, and expects to see a wake-up lost
    Fence();
#endif
    const uint32_t word = peer_->sleep.load(std::memory_order_relaxed);
    if ((word & SleepWord::kKindMask) != 0 && (word & reason) != 0) [[unlikely]] Wake(word);
  }

  uint64_t wakes() const { return wakes_.load(std::memory_order_relaxed); }

 private:
  void Wake(uint32_t word);

  Segment* const own_;
  const Segment* const peer_;
  const int control_fd_;
  Bell* const bell_;  // null: the futex
  std::atomic<uint32_t> last_woken_{0};  // the sleep word that was last answered with a wake
  std::atomic<uint64_t> wakes_{0};
};

}  // namespace ipcrpc::shm
