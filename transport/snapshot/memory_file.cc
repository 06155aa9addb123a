// The file is the memory. On tmpfs it cannot be sealed, so whoever maps it guards it.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/snapshot/memory.h"

namespace ipcrpc::snapshot {
namespace {

absl::StatusOr<Mapping> Make(const UniqueFd& file, uint64_t size, const Permissions& who) {
  RETURN_IF_ERROR(Reserve(file, size, "the snapshot"));
  RETURN_IF_ERROR(Permit(file, who, "the snapshot"));
  return Mapping::OfFile(file.get(), size, Mapping::Access::kReadWrite, Mapping::Size::kCuttable);
}

absl::StatusOr<Mapping> Map(const UniqueFd& file, uint64_t most, Mapping::Access access, bool guarded) {
  struct stat info;
  if (fstat(file.get(), &info) != 0) return absl::ErrnoToStatus(errno, "cannot examine it");
  const uint64_t size = std::min(static_cast<uint64_t>(info.st_size), most);
  if (size == 0) return Mapping();
  return Mapping::OfFile(file.get(), size, access, guarded ? Mapping::Size::kCuttable : Mapping::Size::kSealed);
}

}  // namespace

const MemoryKind kFileMemory = {.name = "file", .make = Make, .map = Map};

}  // namespace ipcrpc::snapshot
