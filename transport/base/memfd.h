// Memory without a name: a file in memory alone, whose size and bytes can be sealed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"

namespace ipcrpc {

// Empty, not sealed yet, close-on-exec. `flags`: further ones of memfd_create. FAILED_PRECONDITION: the system refuses it, or
// IPCRPC_DISABLE does; the message goes on with `what_then`.
absl::StatusOr<UniqueFd> MakeMemfd(unsigned flags, std::string_view what_then);

// What is known of somebody else's memfd that has all of `seals`. With them no file system can stall whoever reads it, nor cut it
// short.
struct MemfdFacts {
  uint64_t size_bytes = 0;
  uint64_t present_bytes = 0;  // what is not hole, in whole pages
};
// INVALID_ARGUMENT says what `name` is not.
absl::StatusOr<MemfdFacts> ExamineMemfd(int fd, int seals, std::string_view name);

}  // namespace ipcrpc
