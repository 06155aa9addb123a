// How a sleeping peer is woken other than by the futex of its own segment: by a bell, which keeps what was rung until
// it is taken. Each side has one that the other rings. Ringing and taking write something that both share, so bells are for peers of
// one uid (parts.h); the futex, which needs none, is for all.
//
// A bell replaces FUTEX_WAIT and FUTEX_WAKE and nothing else of the protocol in event_count.h: it is to that what the
// doorbell of the control socket is, and tests/model/doorbell.pml covers it (docs/shm.md). What the protocol needs of it: a ring
// that comes between announcing a sleep and Wait() is not lost; rings are taken after waking, never between the last
// look at the ring and Wait(); rings too many or too few do no lasting harm. The peer could take rings that are
// ours, so Wait() looks up once a second where Kick() has no way of its own.
//
// A kind is a file (bell_*.cc) and a row of the table in bell.cc.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "transport/base/clock.h"
#include "transport/base/fd.h"
#include "transport/shm/memory.h"
#include "transport/shm/parts.h"

namespace ipcrpc::shm {

class Bell {
 public:
  virtual ~Bell() = default;

  // Whose bell it is: sleeps until it is rung, or the deadline (CLOCK_MONOTONIC). May return early. False: the bell is
  // broken, and nobody can be woken by it.
  virtual bool Wait(int64_t deadline_ns) = 0;
  // Whose bell it is, any thread: ends the present or else the next Wait().
  virtual void Kick() { Ring(); }
  // The other side, any thread. Never blocks. That it can hold no more rings is no error: it is rung.
  virtual void Ring() = 0;
  // The other side: the owner is gone, and what it would leave behind may go, too.
  virtual void OwnerIsGone() {}
};

// How the peer finds a bell.
struct BellPlace {
  UniqueFd fd{};     // eventfd, sem
  int32_t id = -1;   // sem in System V memory, sysvsem
  uint32_t key = 0;  // sysvsem
};

// Ours, and where the peer finds it. No bell (null) for the futex.
struct OwnBell {
  std::unique_ptr<Bell> bell;
  BellPlace place;
};
absl::StatusOr<OwnBell> MakeBell(const Parts& parts);

// The peer's, once checked. `segment` says what memory a `sem` is in. INVALID_ARGUMENT: it is not what it should be.
absl::StatusOr<std::unique_ptr<Bell>> TakeBell(WakeKind wake, SegmentKind segment, BellPlace place);

// Whether its place is a descriptor.
constexpr bool BellHasFd(WakeKind wake, SegmentKind segment) {
  return wake == WakeKind::kEventfd || (wake == WakeKind::kSemaphore && segment != SegmentKind::kSysv);
}

// How long a Wait() goes without looking up, where the peer could take a Kick().
inline constexpr int64_t kBellSliceNs = 1'000'000'000;
inline int64_t SliceEnd(int64_t deadline_ns) {
  const int64_t slice_end = MonotonicNs() + kBellSliceNs;
  return deadline_ns < slice_end ? deadline_ns : slice_end;
}

}  // namespace ipcrpc::shm
