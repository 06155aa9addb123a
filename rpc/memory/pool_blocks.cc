#include "rpc/memory/pool_blocks.h"

#include <iterator>
#include <utility>

#include "transport/base/status_macros.h"

namespace ipcrpc::internal {

PoolBlocks::PoolBlocks(std::shared_ptr<const rpc::SharedRegion> region) : region_(std::move(region)) {
  IPCRPC_CHECK(region_->size() % kGranule == 0);
  free_.emplace(0, region_->size());
}

std::shared_ptr<std::byte> PoolBlocks::Take(size_t size) {
  if (size == 0 || size > region_->size()) return nullptr;
  size = (size + kGranule - 1) / kGranule * kGranule;
  size_t offset = 0;
  {
    std::lock_guard lock(mu_);
    auto run = free_.begin();
    while (run != free_.end() && run->second < size) ++run;
    if (run == free_.end()) return nullptr;
    run->second -= size;
    offset = run->first + run->second;
    if (run->second == 0) free_.erase(run);
    used_ += size;
  }
  return std::shared_ptr<std::byte>(region_->data() + offset,
                                    [blocks = shared_from_this(), offset, size](std::byte*) { blocks->Return(offset, size); });
}

size_t PoolBlocks::used() const {
  std::lock_guard lock(mu_);
  return used_;
}

void PoolBlocks::Return(size_t offset, size_t size) {
  std::lock_guard lock(mu_);
  used_ -= size;
  const auto after = free_.lower_bound(offset);
  const auto before = after == free_.begin() ? free_.end() : std::prev(after);
  if (after != free_.end() && offset + size == after->first) {
    size += after->second;
    free_.erase(after);
  }
  if (before != free_.end() && before->first + before->second == offset) {
    before->second += size;
  } else {
    free_.emplace(offset, size);
  }
}

}  // namespace ipcrpc::internal
