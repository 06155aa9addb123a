// Memory from which messages are sent without a copy.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "ipcrpc/export.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/slice.h"

namespace ipcrpc {

namespace internal {
class PoolBlocks;
}

// A block of a pool, to be written by its one owner; moved, never copied. Free again when it goes, unless it was sealed.
class IPCRPC_EXPORT Loan final {
 public:
  Loan() = default;  // of no bytes
  Loan(Loan&& other) noexcept { *this = std::move(other); }
  Loan& operator=(Loan&& other) noexcept {
    block_ = std::move(other.block_);
    size_ = std::exchange(other.size_, 0);
    region_ = std::exchange(other.region_, nullptr);
    return *this;
  }

  // Aligned to 64 bytes; whatever the last message there has left.
  std::span<std::byte> bytes() const { return {block_.get(), size_}; }
  size_t size() const { return size_; }

  // The first `size` bytes, not to be written any more: for a message. The block is free again when no slice of it is left here,
  // and no peer has it. REQUIRES: size <= size().
  Slice Seal(size_t size) &&;
  Slice Seal() && { return std::move(*this).Seal(size_); }

 private:
  friend class MemoryPool;

  Loan(std::shared_ptr<std::byte> block, size_t size, const rpc::SharedRegion* region)
      : block_(std::move(block)), size_(size), region_(region) {}

  std::shared_ptr<std::byte> block_;
  size_t size_ = 0;
  const rpc::SharedRegion* region_ = nullptr;  // null: private memory
};

// Shared memory, in blocks of any size. A message made of slices of it (ByteBuffer, BytesPayload) is not copied into the transport
// where that passes descriptors (shm, unix, socketpair) and the peer takes such messages: the peer maps the pool, once, and is told
// which bytes are meant. Elsewhere, of blocks below 16 KiB, and while a peer has half of the pool already, the bytes are copied, as
// from any other memory. A peer reads them where they lie if it trusts us (trust=peer in its address); else it copies them out first.
//
// WHOEVER IS SENT ONE BLOCK CAN READ THE WHOLE POOL, now and later: have a pool for each circle of peers that may see the same.
// A block that a trusting peer holds when its connection ends is free again when the peer's process has ended.
// Thread-safe. The memory lives as long as the pool or anything of it; a forked child does not have it, and takes private memory.
class IPCRPC_EXPORT MemoryPool final {
 public:
  // `bytes` is rounded up to whole pages, all of which are taken at once. RESOURCE_EXHAUSTED: there is not so much memory;
  // INVALID_ARGUMENT: none, or more than 4 GiB; FAILED_PRECONDITION: the system refuses shared memory (memfd_create).
  static Status Create(size_t bytes, std::unique_ptr<MemoryPool>* pool);
  ~MemoryPool();

  // A block, of the pool if it has one so large that is free; else of private memory, which is copied when it is sent. Never waits
  // for one. Of no bytes: nothing at all.
  Loan Take(size_t size);

  size_t size() const;
  // Bytes of blocks that are taken, or still with a peer, in multiples of 64.
  size_t used() const;

 private:
  explicit MemoryPool(std::shared_ptr<internal::PoolBlocks> blocks);

  const std::shared_ptr<internal::PoolBlocks> blocks_;
};

}  // namespace ipcrpc
