// Memory without a name, sealed: nobody can change its size, and nobody but its maker write it. The only kind for a
// peer of another uid.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <utility>

#include "transport/base/features.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/memory_kind.h"

namespace ipcrpc::shm {
namespace {

// With FUTURE_WRITE the mapping that there is stays the only one that can write.
constexpr int Seals(Sharing sharing) {
  return F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (sharing == Sharing::kPeerReads ? F_SEAL_FUTURE_WRITE : 0);
}

absl::Status Refused(std::string_view why) {
  return absl::FailedPreconditionError(Cat("memfd_create is refused here (", why,
                                           "), and with it shared memory of the kind segment=memfd; segment=posix and segment=sysv "
                                           "do without, between processes of one uid"));
}

absl::StatusOr<OwnMemory> Make(const Parts& parts, size_t size, Sharing sharing) {
  if (!FeatureAllowed("memfd_create")) return Refused("by IPCRPC_DISABLE");
  OwnMemory memory;
  memory.place.fd.reset(memfd_create("ipcrpc", MFD_CLOEXEC | MFD_ALLOW_SEALING | (parts.hugepages ? MFD_HUGETLB : 0u)));
  if (!memory.place.fd.valid()) {
    const int error = errno;
    if (parts.hugepages && (error == ENODEV || error == EINVAL)) {
      return absl::FailedPreconditionError(Cat("this kernel has no huge pages (hugepages=1): ", strerror(error)));
    }
    if (error == ENOSYS || error == EPERM || error == EACCES) return Refused(strerror(error));
    return absl::ErrnoToStatus(error, "cannot make shared memory (memfd_create)");
  }
  const int fd = memory.place.fd.get();
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) {
    return absl::ErrnoToStatus(errno, Cat("cannot give shared memory its ", size, " bytes"));
  }
  absl::StatusOr<Mapping> mapping = Mapping::OfFile(fd, size, Mapping::Access::kReadWrite, Mapping::Size::kSealed);
  if (!mapping.ok() && parts.hugepages) {
    return absl::ResourceExhaustedError(Cat("no ", size, " bytes of huge pages for shared memory (hugepages=1): ", HugePagesNow()));
  }
  if (!mapping.ok()) return mapping.status();
  memory.mapping = *std::move(mapping);
  if (fcntl(fd, F_ADD_SEALS, Seals(sharing)) != 0) return absl::ErrnoToStatus(errno, "cannot seal shared memory");
  return memory;
}

// With all seals it is a memfd, so that no file system can stall whoever reads it, nor cut it short.
absl::StatusOr<Mapping> Map(const MemoryPlace& place, size_t size, Sharing sharing) {
  if (!place.fd.valid()) return absl::InvalidArgumentError("the peer sent no shared memory");
  const int seals = fcntl(place.fd.get(), F_GET_SEALS);
  if (seals < 0) return absl::InvalidArgumentError("the peer's shared memory is not a memfd");
  if ((seals & Seals(sharing)) != Seals(sharing)) {
    return absl::InvalidArgumentError(
        Cat("the peer's shared memory lacks seals: it has ", seals, ", all of ", Seals(sharing), " are due"));
  }
  struct stat info;
  if (fstat(place.fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, "cannot examine the peer's shared memory");
  if (static_cast<uint64_t>(info.st_size) != size) {
    return absl::InvalidArgumentError(Cat("the peer's shared memory has ", info.st_size, " bytes where ", size, " were announced"));
  }
  return Mapping::OfFile(place.fd.get(), size, PeerAccess(sharing), Mapping::Size::kSealed);
}

}  // namespace

const MemoryKind kMemfdMemory = {.make = Make, .map = Map, .lock = LockMapping};

}  // namespace ipcrpc::shm
