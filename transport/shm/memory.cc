#include "transport/shm/memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/memory_kind.h"

#if !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23
#endif

namespace ipcrpc::shm {
namespace {

const MemoryKind& KindOf(SegmentKind segment) {
  static constexpr const MemoryKind* kKinds[kSegmentKinds] = {&kMemfdMemory, &kPosixMemory, &kSysvMemory};
  return *kKinds[static_cast<uint8_t>(segment)];
}

// "kB" of a line of /proc/meminfo, or a plain number; 0 unknown.
uint64_t MemInfo(std::string_view key) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (!std::string_view(line).starts_with(key) || line[key.size()] != ':') continue;
    uint64_t value = 0;
    std::istringstream(line.substr(key.size() + 1)) >> value;
    return value;
  }
  return 0;
}

std::string LockLimit() {
  rlimit limit = {};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? "unlimited" : Cat(limit.rlim_cur, " bytes");
}

absl::Status Keep(const Parts& parts, const OwnMemory& memory) {
  const size_t size = memory.mapping.size();
  if (parts.lock) {
    if (const int error = KindOf(parts.segment).lock(memory); error != 0) {
      return absl::ResourceExhaustedError(Cat("cannot lock ", size, " bytes of shared memory (lock=1): ", strerror(error),
                                              "; RLIMIT_MEMLOCK is ", LockLimit(), " for all that a user locks (ulimit -l, LimitMEMLOCK=)"));
    }
  }
  if (parts.prefault || parts.lock) {
    if (madvise(memory.mapping.data(), size, MADV_POPULATE_WRITE) != 0) {
      return absl::ResourceExhaustedError(Cat("cannot give ", size, " bytes of shared memory their pages at once: ", strerror(errno)));
    }
  }
  return absl::OkStatus();
}

#if defined(IPCRPC_TSAN)
// What this process made and still has, by inode or number.
using MemoryId = std::pair<uint64_t, uint64_t>;
struct OwnMappings {
  std::mutex mu;
  std::map<MemoryId, std::weak_ptr<void>> by_id;
};
OwnMappings& Own() {
  static auto* own = new OwnMappings;
  return *own;
}
MemoryId IdOf(const MemoryPlace& place) {
  if (!place.fd.valid()) return {~uint64_t{0}, static_cast<uint64_t>(place.id)};
  struct stat info = {};
  fstat(place.fd.get(), &info);
  return {info.st_dev, info.st_ino};
}
#endif

}  // namespace

int LockMapping(const OwnMemory& memory) { return mlock(memory.mapping.data(), memory.mapping.size()) == 0 ? 0 : errno; }

std::string HugePagesNow() {
  return Cat("of ", MemInfo("HugePages_Total"), " huge pages of ", MemInfo("Hugepagesize"), " KiB ", MemInfo("HugePages_Free"),
             " are free; sysctl vm.nr_hugepages reserves more");
}

uint8_t PageShiftOf(const Parts& parts) {
  if (!parts.hugepages) return kPageShift;
  static const uint64_t huge_bytes = MemInfo("Hugepagesize") * 1024;
  // Where there are none, making them says so.
  return huge_bytes == 0 ? uint8_t{21} : static_cast<uint8_t>(std::countr_zero(huge_bytes));
}

absl::StatusOr<OwnMemory> MakeMemory(const Parts& parts, size_t size, Sharing sharing) {
  ASSIGN_OR_RETURN(OwnMemory memory, KindOf(parts.segment).make(parts, MemoryBytes(size, PageShiftOf(parts)), sharing));
  RETURN_IF_ERROR(Keep(parts, memory));
#if defined(IPCRPC_TSAN)
  std::lock_guard lock(Own().mu);
  std::erase_if(Own().by_id, [](const auto& entry) { return entry.second.expired(); });
  Own().by_id[IdOf(memory.place)] = memory.mapping.watch();
#endif
  return memory;
}

absl::StatusOr<Mapping> MapPeerMemory(PeerMemoryKind kind, const MemoryPlace& place, size_t size, Sharing sharing) {
#if defined(IPCRPC_TSAN)
  std::unique_lock lock(Own().mu);
  if (auto own = Own().by_id.extract(IdOf(place)); !own.empty()) {
    if (Mapping mapping = Mapping::Again(own.mapped()); mapping.data() != nullptr) return mapping;
  }
  lock.unlock();
#endif
  return KindOf(kind.segment).map(place, MemoryBytes(size, kind.page_shift), sharing);
}

}  // namespace ipcrpc::shm
