// Memory shared with one peer: made and written here, or made there and only read here.
//
// Each kind (memory_memfd.cc, memory_posix.cc, memory_sysv.cc) is a row of one table. A kind's memory is given its
// pages, as far as the kernel can run out of them, before it is used: what fails, fails here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/shm/mapping.h"
#include "transport/shm/parts.h"

namespace ipcrpc::shm {

enum class Sharing { kPeerReads, kBothWrite };

// How a peer finds memory: a descriptor to be passed (memfd, posix), or a number (sysv).
struct MemoryPlace {
  UniqueFd fd{};
  int32_t id = -1;
};

// Memory of our own, zeroed. Nothing of it has a name any more, so nothing of it outlives the two processes.
struct OwnMemory {
  Mapping mapping;
  MemoryPlace place;
};

// At least `size` bytes, in whole pages: the size that a peer must be told of is MemoryBytes() of PageShiftOf().
// FAILED_PRECONDITION: the system refuses this kind of memory; RESOURCE_EXHAUSTED: there is no more of it; the
// message says of what, and what would help.
absl::StatusOr<OwnMemory> MakeMemory(const Parts& parts, size_t size, Sharing sharing);

// What a peer says of its memory, once checked.
struct PeerMemoryKind {
  SegmentKind segment = SegmentKind::kMemfd;
  uint8_t page_shift = 12;
};

// Maps what a peer made. Everything about `place` is checked: its kind, that it has exactly the bytes it must have
// and the seals, or else the owner, mode and pages. INVALID_ARGUMENT says what was wrong.
//
// ThreadSanitizer knows addresses, not memory: it sees no race through two mappings of the same bytes. In its
// builds memory that this process made itself is therefore not mapped again, and both ends use one address.
absl::StatusOr<Mapping> MapPeerMemory(PeerMemoryKind kind, const MemoryPlace& place, size_t size, Sharing sharing);

inline constexpr uint8_t kPageShift = 12;
inline constexpr uint8_t kMaxPageShift = 25;
// Of the pages that memory of ours is made of: the system's, or its huge ones.
uint8_t PageShiftOf(const Parts& parts);
constexpr size_t MemoryBytes(size_t size, uint8_t page_shift) {
  const size_t page = size_t{1} << page_shift;
  return (size + page - 1) & ~(page - 1);
}

}  // namespace ipcrpc::shm
