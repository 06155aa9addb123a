// The segment that each side of a connection writes: its head, and the ring behind it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "transport/shm/layout.h"
#include "transport/shm/mapping.h"

namespace ipcrpc::shm {

// Bytes of a segment with a ring of `ring_bytes`, but for the rest of its last page.
constexpr size_t SegmentBytes(uint32_t ring_bytes) { return kRingOffset + size_t{ring_bytes}; }

// Writes the constants of a segment of our own.
Segment* InitSegment(const Mapping& mapping, uint64_t token);
// The peer's segment, once its constants are checked. `token` 0: any.
absl::StatusOr<const Segment*> CheckSegment(const Mapping& mapping, uint64_t token);

}  // namespace ipcrpc::shm
