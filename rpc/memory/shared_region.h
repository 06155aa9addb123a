// Memory that a message can lie in instead of travelling: made by one process, mapped by its peers, who are told which bytes of it
// are meant (docs/wire.md, "Messages by reference").
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "ipcrpc/internal/mutex.h"
#include "ipcrpc/support/slice.h"
#include "ipcrpc/unique_fd.h"
#include "transport/shm/mapping.h"

namespace ipcrpc::rpc {

// A memfd and its mapping. Immutable but for the bytes of a pool of our own; thread-safe.
class SharedRegion {
 public:
  enum class Kind : uint8_t {
    kPool = 1,    // its maker writes it again and again: what is read there may change while it is read
    kSealed = 2,  // nobody can write it any more (F_SEAL_WRITE)
  };

  // Zeroed, in whole pages, which are all there. RESOURCE_EXHAUSTED: there is not so much memory; FAILED_PRECONDITION: memfd_create
  // is refused; INVALID_ARGUMENT: of no bytes, or more than 4 GiB.
  static absl::StatusOr<std::shared_ptr<SharedRegion>> MakePool(size_t bytes);
  // Filled by `fill`, then sealed. The same errors. What `fill` throws comes out.
  static absl::StatusOr<std::shared_ptr<SharedRegion>> MakeSealed(size_t bytes, const std::function<void(std::span<std::byte>)>& fill);
  // Of somebody else's making. INVALID_ARGUMENT says what of it is not as it must be: a memfd with the seals of its kind, whose
  // pages are all there, of exactly `bytes` bytes (0: any number but none), up to 4 GiB.
  static absl::StatusOr<std::shared_ptr<SharedRegion>> Map(Kind kind, UniqueFd fd, uint64_t bytes);

  ~SharedRegion();

  Kind kind() const { return kind_; }
  std::byte* data() const { return mapping_.data(); }  // may be written by who made it as a pool
  size_t size() const { return mapping_.size(); }
  int fd() const { return fd_.get(); }

  // Runs before the memory goes, on the thread that has it last, which may be any. What comes back is for NotAtEnd(), which forgets
  // it again, and does not wait for one that runs already.
  uint64_t AtEnd(std::function<void()> run) const;
  void NotAtEnd(uint64_t which) const;

 private:
  SharedRegion(Kind kind, UniqueFd fd, shm::Mapping mapping) : kind_(kind), fd_(std::move(fd)), mapping_(std::move(mapping)) {}

  const Kind kind_;
  const UniqueFd fd_;
  const shm::Mapping mapping_;
  mutable internal::Mutex mu_;
  mutable std::map<uint64_t, std::function<void()>> at_end_;  // under mu_
  mutable uint64_t last_at_end_ = 0;                          // the same
};

}  // namespace ipcrpc::rpc

namespace ipcrpc::internal {

// Slices of shared memory.
struct SharedSlices {
  // `bytes` keeps the region.
  static Slice Make(std::shared_ptr<const uint8_t> bytes, size_t size, const rpc::SharedRegion* region) {
    Slice slice;
    slice.bytes_ = std::move(bytes);
    slice.size_ = size;
    slice.region_ = region;
    return slice;
  }
  // Null: it lies in private memory, or in a peer's.
  static const rpc::SharedRegion* RegionOf(const Slice& slice) { return slice.region_; }
};

}  // namespace ipcrpc::internal
