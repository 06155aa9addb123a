#include "ipcrpc/registered_memory.h"

#include <memory>
#include <utility>

#include "rpc/convert.h"
#include "rpc/memory/shared_region.h"

namespace ipcrpc {
namespace {

Status AllOf(absl::StatusOr<std::shared_ptr<rpc::SharedRegion>> region, Slice* slice) {
  if (!region.ok()) return rpc::FromAbsl(region.status());
  const rpc::SharedRegion& memory = **region;
  std::shared_ptr<const uint8_t> bytes(*std::move(region), reinterpret_cast<const uint8_t*>(memory.data()));
  *slice = internal::SharedSlices::Make(std::move(bytes), memory.size(), &memory);
  return Status();
}

}  // namespace

Status RegisterMemory(size_t size, const std::function<void(std::span<std::byte>)>& fill, Slice* slice) {
  return AllOf(rpc::SharedRegion::MakeSealed(size, fill), slice);
}

Status RegisterMemory(UniqueFd memfd, Slice* slice) {
  return AllOf(rpc::SharedRegion::Map(rpc::SharedRegion::Kind::kSealed, std::move(memfd), 0), slice);
}

}  // namespace ipcrpc
