// Which parts of a pool are taken. Kept in private memory: the pool itself is a peer's to read.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

#include "rpc/memory/shared_region.h"
#include "transport/base/fork_guard.h"

namespace ipcrpc::internal {

// Blocks of whole granules, the first that fits, joined with their neighbours when they come back. Thread-safe.
//
// A block is cut from the end of a free run and grows that run when it comes back: who takes and returns in turn has the same
// memory each time, still in the caches, and no node of the map is made.
class PoolBlocks : public std::enable_shared_from_this<PoolBlocks> {
 public:
  static constexpr size_t kGranule = 64;  // a cache line: two blocks share none

  explicit PoolBlocks(std::shared_ptr<const rpc::SharedRegion> region);

  // A block of `size` bytes, free again when the last copy goes, which may be on any thread; each keeps the pool's memory. Null:
  // there is none so large.
  std::shared_ptr<std::byte> Take(size_t size);

  const rpc::SharedRegion& region() const { return *region_; }
  size_t used() const;
  // False in a forked child, where the memory is not mapped.
  bool ours() const { return fork_guard_.ours(); }

 private:
  void Return(size_t offset, size_t size);

  const std::shared_ptr<const rpc::SharedRegion> region_;
  const ForkGuard fork_guard_;

  mutable std::mutex mu_;
  // Free runs by their offset: none empty, no two that touch.
  std::map<size_t, size_t> free_;
  size_t used_ = 0;
};

}  // namespace ipcrpc::internal
