// Waiting for another thread of the same process to bring something, which takes it a moment: a thread that sleeps for
// so short a time costs itself and the one who wakes it more than what it waits for. It gives its processor away
// instead, a few times, as long as that pays. Who waits for the peer, with such company, does not spin on the processor
// that the others may need (SpinPolicy).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "transport/base/spin.h"
#include "transport/base/ticks.h"

namespace ipcrpc {

// Belongs to a thread.
class Patience {
 public:
  // True once `ready()` is; false: sleep until it is, and then say so by NoteSlept().
  template <typename Ready>
  bool AwaitShortly(Ready&& ready);
  void NoteSlept() { NoteWait(Ticks()); }
  // To those who wait, now that the thread waits for nothing itself.
  void GiveWay() {
    if (yielder_.allowed(Ticks())) yielder_.Once();
  }

  // What it has learnt, in ticks of whatever clock: whether a wait that begins now is worth a try, and when that wait ended.
  bool WorthATry(uint64_t now) {
    began_ = now;
    if (wait_ewma_ > static_cast<int64_t>(2 * budget_) && ++skipped_ < kRetryEvery) return false;
    skipped_ = 0;
    return true;
  }
  void NoteWait(uint64_t now) {
    const auto wait = static_cast<int64_t>(std::min(now - began_, 4 * budget_));
    wait_ewma_ += (wait - wait_ewma_) / 8;
  }

 private:
  static constexpr uint64_t kBudgetUs = 30;
  static constexpr uint32_t kRetryEvery = 32;

  Yielder yielder_{Yielder::To::kCompany};
  const uint64_t budget_ = kBudgetUs * TicksPerMicrosecond();
  uint64_t began_ = 0;
  int64_t wait_ewma_ = 0;
  uint32_t skipped_ = 0;
};

inline Patience& ThisThreadsPatience() {
  thread_local Patience patience;
  return patience;
}

template <typename Ready>
bool Patience::AwaitShortly(Ready&& ready) {
  const uint64_t now = Ticks();
  if (!WorthATry(now) || !yielder_.allowed(now)) return false;
  company.fetch_add(1, std::memory_order_relaxed);
  bool came = false;
  while (!came && Ticks() - began_ < budget_ && yielder_.Once()) came = ready();
  company.fetch_sub(1, std::memory_order_relaxed);
  if (came) NoteWait(Ticks());
  return came;
}

}  // namespace ipcrpc
