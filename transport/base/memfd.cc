#include "transport/base/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>

#include "transport/base/features.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

absl::Status Refused(std::string_view why, std::string_view what_then) {
  return absl::FailedPreconditionError(Cat("memfd_create is refused here (", why, ")", what_then));
}

}  // namespace

absl::StatusOr<UniqueFd> MakeMemfd(unsigned flags, std::string_view what_then) {
  if (!FeatureAllowed("memfd_create")) return Refused("by IPCRPC_DISABLE", what_then);
  UniqueFd fd(memfd_create("ipcrpc", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
  if (fd.valid()) return fd;
  const int error = errno;
  if ((flags & MFD_HUGETLB) != 0 && (error == ENODEV || error == EINVAL)) {
    return absl::FailedPreconditionError(Cat("this kernel has no huge pages (hugepages=1): ", strerror(error)));
  }
  if (error == ENOSYS || error == EPERM || error == EACCES) return Refused(strerror(error), what_then);
  return absl::ErrnoToStatus(error, "cannot make shared memory (memfd_create)");
}

absl::StatusOr<MemfdFacts> ExamineMemfd(int fd, int seals, std::string_view name) {
  const int present = fcntl(fd, F_GET_SEALS);
  if (present < 0) return absl::InvalidArgumentError(Cat(name, " is not a memfd"));
  if ((present & seals) != seals) {
    return absl::InvalidArgumentError(Cat(name, " lacks seals: it has ", present, ", all of ", seals, " are due"));
  }
  struct stat info;
  if (fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, Cat("cannot examine ", name));
  return MemfdFacts{.size_bytes = static_cast<uint64_t>(info.st_size), .present_bytes = static_cast<uint64_t>(info.st_blocks) * 512};
}

}  // namespace ipcrpc
