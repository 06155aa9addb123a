#include "ipcrpc/memory_pool.h"

#include <new>
#include <utility>

#include "rpc/convert.h"
#include "rpc/memory/abandoned.h"
#include "rpc/memory/pool_blocks.h"
#include "rpc/memory/shared_region.h"
#include "transport/base/status_macros.h"

namespace ipcrpc {
namespace {

using internal::PoolBlocks;

std::shared_ptr<std::byte> PrivateBlock(size_t size) {
  constexpr std::align_val_t kAlignment{PoolBlocks::kGranule};
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(::operator new(size, kAlignment)),
                                    [](std::byte* block) { ::operator delete(block, kAlignment); });
}

}  // namespace

Slice Loan::Seal(size_t size) && {
  IPCRPC_CHECK(size <= size_);
  std::shared_ptr<const uint8_t> bytes(block_, reinterpret_cast<const uint8_t*>(block_.get()));
  const rpc::SharedRegion* const region = region_;
  *this = Loan();
  return internal::SharedSlices::Make(std::move(bytes), size, region);
}

Status MemoryPool::Create(size_t bytes, std::unique_ptr<MemoryPool>* pool) {
  absl::StatusOr<std::shared_ptr<rpc::SharedRegion>> region = rpc::SharedRegion::MakePool(bytes);
  if (!region.ok()) return rpc::FromAbsl(region.status());
  pool->reset(new MemoryPool(std::make_shared<PoolBlocks>(*std::move(region))));
  return Status();
}

MemoryPool::MemoryPool(std::shared_ptr<PoolBlocks> blocks) : blocks_(std::move(blocks)) {}

MemoryPool::~MemoryPool() = default;

Loan MemoryPool::Take(size_t size) {
  if (size == 0) return Loan();
  if (!blocks_->ours()) return Loan(PrivateBlock(size), size, nullptr);
  std::shared_ptr<std::byte> block = blocks_->Take(size);
  if (block == nullptr && size <= blocks_->region().size()) {
    rpc::FreeAbandonedLoans();
    block = blocks_->Take(size);
  }
  const rpc::SharedRegion* const region = block == nullptr ? nullptr : &blocks_->region();
  if (block == nullptr) block = PrivateBlock(size);
  return Loan(std::move(block), size, region);
}

size_t MemoryPool::size() const { return blocks_->region().size(); }

size_t MemoryPool::used() const { return blocks_->used(); }

}  // namespace ipcrpc
