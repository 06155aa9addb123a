// Shared memory in this address space.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"

namespace ipcrpc::shm {

// A mapping, shared by its copies; unmapped with the last. Not inherited by fork (MADV_DONTFORK).
class Mapping {
 public:
  // kReadPrivate: a copy of one's own, were it ever written, which it cannot be. What has F_SEAL_WRITE is mapped so: to map it
  // shared is refused before kernel 6.7, even for reading.
  enum class Access { kRead, kReadWrite, kReadPrivate };
  enum class Size { kSealed, kCuttable };

  Mapping() = default;

  // Maps `size` bytes, all there are. What can be cut short (kCuttable) is guarded: zeros take its place then, and
  // broken() says so, where the process would die of SIGBUS.
  static absl::StatusOr<Mapping> OfFile(int fd, size_t size, Access access, Size cuttable);
  // A System V segment, which nobody can cut short.
  static absl::StatusOr<Mapping> OfSysv(int id, size_t size, Access access);

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  bool broken() const;

  // Has children that are forked from now on inherit it.
  void Inherit() const;

  // For who wants to know it as long as somebody has it (memory.cc, in ThreadSanitizer's builds).
  std::weak_ptr<void> watch() const;
  // What watch() was asked of, unless it is gone.
  static Mapping Again(const std::weak_ptr<void>& watch);

 private:
  struct Region;
  explicit Mapping(std::shared_ptr<Region> region);

  std::shared_ptr<Region> region_;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace ipcrpc::shm
