#include "transport/shm/segment.h"

#include <new>

#include "transport/base/spin.h"
#include "transport/base/strings.h"

namespace ipcrpc::shm {

Segment* InitSegment(const Mapping& mapping, uint64_t token) {
  auto* segment = new (mapping.data()) Segment();
  segment->magic = kSegmentMagic;
  segment->version = kLayoutVersion;
  segment->size = static_cast<uint32_t>(mapping.size());
  segment->token = token;
  // A guess that is mostly right, for a peer that waits before the owner has.
  segment->cpu.store(static_cast<uint32_t>(CurrentCpu()), std::memory_order_relaxed);
  return segment;
}

absl::StatusOr<const Segment*> CheckSegment(const Mapping& mapping, uint64_t token) {
  const auto* segment = reinterpret_cast<const Segment*>(mapping.data());
  if (segment->magic != kSegmentMagic) return absl::InvalidArgumentError("the peer's shared memory has no ipcrpc segment in it");
  if (segment->version != kLayoutVersion) {
    return absl::FailedPreconditionError(
        Cat("the peer's segment has layout version ", segment->version, ", this is version ", kLayoutVersion));
  }
  if (token != 0 && segment->token != token) {
    return absl::FailedPreconditionError("the peer's shared memory is another's: is the peer in another IPC namespace?");
  }
  return segment;
}

}  // namespace ipcrpc::shm
