// What a kind of shared memory has to provide; memory.cc does the rest.
#pragma once

#include "transport/shm/memory.h"

namespace ipcrpc::shm {

struct MemoryKind {
  // `size` is in whole pages.
  absl::StatusOr<OwnMemory> (*make)(const Parts& parts, size_t size, Sharing sharing);
  absl::StatusOr<Mapping> (*map)(const MemoryPlace& place, size_t size, Sharing sharing);
  // 0 or errno.
  int (*lock)(const OwnMemory& memory);
};

extern const MemoryKind kMemfdMemory;
extern const MemoryKind kPosixMemory;
extern const MemoryKind kSysvMemory;

int LockMapping(const OwnMemory& memory);
constexpr Mapping::Access PeerAccess(Sharing sharing) {
  return sharing == Sharing::kPeerReads ? Mapping::Access::kRead : Mapping::Access::kReadWrite;
}
// How many huge pages there are and are free, for messages.
std::string HugePagesNow();

}  // namespace ipcrpc::shm
