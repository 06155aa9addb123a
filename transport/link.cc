#include "transport/link.h"

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc {

Link::FdSending Link::SendFds(uint32_t, std::span<const UniqueFd>) {
  IPCRPC_CHECK(!"a link that passes descriptors");
  return FdSending::kRefused;
}

absl::StatusOr<std::vector<UniqueFd>> Link::TakeFds(uint32_t, size_t count) {
  return absl::FailedPreconditionError(Cat(count, " descriptors went with a message, which ", description(), " does not pass"));
}

}  // namespace ipcrpc
