// Memory shared with one peer: made and written here, or made there and only read here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/shm/layout.h"

namespace ipcrpc::shm {

// A mapping, shared by its copies; unmapped with the last. Not inherited by fork (MADV_DONTFORK).
class Mapping {
 public:
  Mapping() = default;
  Mapping(std::byte* data, size_t size);
  Mapping(std::shared_ptr<std::byte> data, size_t size) : data_(std::move(data)), size_(size) {}

  std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }
  const std::shared_ptr<std::byte>& shared() const { return data_; }

 private:
  std::shared_ptr<std::byte> data_;
  size_t size_ = 0;
};

// Memory of our own, zeroed, and the descriptor to send to the peer: sealed so that nobody can change its size
// and nobody but this mapping can write it.
struct OwnMemory {
  Mapping mapping;
  UniqueFd fd;
};

// RESOURCE_EXHAUSTED or FAILED_PRECONDITION with what the kernel refused.
absl::StatusOr<OwnMemory> MakeMemory(size_t size);

// Maps read-only what a peer sent. Everything about `fd` is checked: a memfd with all four seals (so no file system
// can stall or truncate it), exactly `size` bytes. INVALID_ARGUMENT says what was wrong.
//
// ThreadSanitizer knows addresses, not memory: it sees no race through two mappings of the same bytes. In its
// builds memory that this process made itself is therefore not mapped again, and both ends use one address.
absl::StatusOr<Mapping> MapPeerMemory(const UniqueFd& fd, size_t size);

// Bytes of a segment with a ring of `ring_bytes`, in whole pages.
size_t SegmentBytes(uint32_t ring_bytes);

// Writes the constants of a segment of our own.
Segment* InitSegment(const Mapping& mapping);
// The peer's segment, once its constants are checked.
absl::StatusOr<const Segment*> CheckSegment(const Mapping& mapping);

}  // namespace ipcrpc::shm
