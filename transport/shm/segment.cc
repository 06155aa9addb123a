#include "transport/shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <map>
#include <mutex>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/features.h"
#include "transport/base/fork_guard.h"
#include "transport/base/status_macros.h"

namespace ipcrpc::shm {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr size_t kPage = 4096;

absl::StatusOr<Mapping> Map(int fd, size_t size, int protection) {
  void* data = mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return absl::ErrnoToStatus(errno, absl::StrCat("cannot map ", size, " bytes of shared memory"));
  madvise(data, size, MADV_DONTFORK);
  return Mapping(static_cast<std::byte*>(data), size);
}

#if defined(IPCRPC_TSAN)
// What this process made and still has, by inode.
struct OwnMappings {
  std::mutex mu;
  std::map<ino_t, std::weak_ptr<std::byte>> by_inode;
};
OwnMappings& Own() {
  static auto* own = new OwnMappings;
  return *own;
}
ino_t InodeOf(int fd) {
  struct stat info = {};
  fstat(fd, &info);
  return info.st_ino;
}
#endif

}  // namespace

// In a forked child the mapping does not exist, and its place may be another's.
Mapping::Mapping(std::byte* data, size_t size)
    : data_(data, [size, guard = ForkGuard()](std::byte* p) { if (guard.ours()) munmap(p, size); }), size_(size) {}

absl::StatusOr<OwnMemory> MakeMemory(size_t size) {
  if (!FeatureAllowed("memfd_create")) return absl::FailedPreconditionError("memfd_create is disabled by IPCRPC_DISABLE");
  OwnMemory memory;
  memory.fd.reset(memfd_create("ipcrpc", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.fd.valid()) return absl::ErrnoToStatus(errno, "cannot make shared memory (memfd_create)");
  if (ftruncate(memory.fd.get(), static_cast<off_t>(size)) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot give shared memory its ", size, " bytes"));
  }
  ASSIGN_OR_RETURN(memory.mapping, Map(memory.fd.get(), size, PROT_READ | PROT_WRITE));
  if (fcntl(memory.fd.get(), F_ADD_SEALS, kSeals) != 0) return absl::ErrnoToStatus(errno, "cannot seal shared memory");
#if defined(IPCRPC_TSAN)
  std::lock_guard lock(Own().mu);
  std::erase_if(Own().by_inode, [](const auto& entry) { return entry.second.expired(); });
  Own().by_inode[InodeOf(memory.fd.get())] = memory.mapping.shared();
#endif
  return memory;
}

absl::StatusOr<Mapping> MapPeerMemory(const UniqueFd& fd, size_t size) {
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0) return absl::InvalidArgumentError("the peer's shared memory is not a memfd");
  if ((seals & kSeals) != kSeals) {
    return absl::InvalidArgumentError(
        absl::StrCat("the peer's shared memory lacks seals: it has ", seals, ", all of ", kSeals, " are due"));
  }
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, "cannot examine the peer's shared memory");
  if (static_cast<uint64_t>(info.st_size) != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("the peer's shared memory has ", info.st_size, " bytes where ", size, " were announced"));
  }
#if defined(IPCRPC_TSAN)
  std::lock_guard lock(Own().mu);
  if (auto own = Own().by_inode.extract(info.st_ino); !own.empty()) {
    if (std::shared_ptr<std::byte> data = own.mapped().lock()) return Mapping(std::move(data), size);
  }
#endif
  return Map(fd.get(), size, PROT_READ);
}

size_t SegmentBytes(uint32_t ring_bytes) { return (kRingOffset + size_t{ring_bytes} + kPage - 1) & ~(kPage - 1); }

Segment* InitSegment(const Mapping& mapping) {
  auto* segment = new (mapping.data()) Segment();
  segment->magic = kSegmentMagic;
  segment->version = kLayoutVersion;
  segment->size = static_cast<uint32_t>(mapping.size());
  return segment;
}

absl::StatusOr<const Segment*> CheckSegment(const Mapping& mapping) {
  const auto* segment = reinterpret_cast<const Segment*>(mapping.data());
  if (segment->magic != kSegmentMagic) return absl::InvalidArgumentError("the peer's shared memory has no ipcrpc segment in it");
  if (segment->version != kLayoutVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the peer's segment has layout version ", segment->version,
                                                      ", this is version ", kLayoutVersion));
  }
  return segment;
}

}  // namespace ipcrpc::shm
