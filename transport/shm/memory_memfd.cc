// Memory without a name, sealed: nobody can change its size, and nobody but its maker write it. The only kind for a
// peer of another uid.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <string_view>
#include <utility>

#include "transport/base/memfd.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/memory_kind.h"

namespace ipcrpc::shm {
namespace {

// With FUTURE_WRITE the mapping that there is stays the only one that can write.
constexpr int Seals(Sharing sharing) {
  return F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (sharing == Sharing::kPeerReads ? F_SEAL_FUTURE_WRITE : 0);
}

constexpr std::string_view kOtherKinds =
    ", and with it shared memory of the kind segment=memfd; segment=posix and segment=sysv do without, between processes of one uid";

absl::StatusOr<OwnMemory> Make(const Parts& parts, size_t size, Sharing sharing) {
  OwnMemory memory;
  ASSIGN_OR_RETURN(memory.place.fd, MakeMemfd(parts.hugepages ? MFD_HUGETLB : 0, kOtherKinds));
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

absl::StatusOr<Mapping> Map(const MemoryPlace& place, size_t size, Sharing sharing) {
  if (!place.fd.valid()) return absl::InvalidArgumentError("the peer sent no shared memory");
  ASSIGN_OR_RETURN(const MemfdFacts facts, ExamineMemfd(place.fd.get(), Seals(sharing), "the peer's shared memory"));
  if (facts.size_bytes != size) {
    return absl::InvalidArgumentError(
        Cat("the peer's shared memory has ", facts.size_bytes, " bytes where ", size, " were announced"));
  }
  return Mapping::OfFile(place.fd.get(), size, PeerAccess(sharing), Mapping::Size::kSealed);
}

}  // namespace

const MemoryKind kMemfdMemory = {.make = Make, .map = Map, .lock = LockMapping};

}  // namespace ipcrpc::shm
