// System V shared memory: a number in the IPC namespace. It is marked for removal as soon as we are attached, which on
// Linux leaves it to be attached by its number until nobody is: so it goes with the last of the two processes.
//
// Anybody of our uid can attach and write it, so it is for peers of our own uid. Nobody can cut it short.
#include <errno.h>
#include <sys/shm.h>
#include <unistd.h>

#include <boost/interprocess/xsi_key.hpp>
#include <boost/interprocess/xsi_shared_memory.hpp>
#include <cstring>
#include <string>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/ledger.h"
#include "transport/shm/memory_kind.h"

namespace ipcrpc::shm {
namespace {

namespace bip = boost::interprocess;

absl::Status MakeError(int error, size_t size, bool hugepages) {
  const std::string what = Cat("cannot make ", size, " bytes of System V shared memory (segment=sysv", hugepages ? " hugepages=1" : "",
                               "): ", strerror(error));
  switch (error) {
    case EINVAL:
      return absl::ResourceExhaustedError(Cat(what, "; kernel.shmmax is the most that a segment may have"));
    case ENOSPC:
      return absl::ResourceExhaustedError(Cat(what, "; kernel.shmmni segments or kernel.shmall pages are in use (see ipcs -lm, ipcs -m)"));
    case ENOMEM:
      return absl::ResourceExhaustedError(hugepages ? Cat(what, "; ", HugePagesNow()) : what);
    case EPERM:
      return absl::PermissionDeniedError(
          Cat(what, hugepages ? "; huge pages of System V need CAP_IPC_LOCK or the group of vm.hugetlb_shm_group" : ""));
    default:  // ENOSYS: a kernel or a filter without System V IPC
      return absl::FailedPreconditionError(what);
  }
}

// A new segment with a key that nobody has, or -1 and errno.
int Get(uint32_t key, size_t size, bool hugepages) {
  // Boost knows of no flags.
  if (hugepages) return shmget(static_cast<key_t>(key), size, IPC_CREAT | IPC_EXCL | SHM_HUGETLB | 0600);
  try {
    return bip::xsi_shared_memory(bip::create_only, bip::xsi_key(static_cast<key_t>(key)), size, bip::permissions(0600)).get_shmid();
  } catch (const bip::interprocess_exception& error) {
    errno = error.get_native_error();
    return -1;
  }
}

absl::StatusOr<OwnMemory> Make(const Parts& parts, size_t size, Sharing) {
  for (;;) {
    const uint32_t key = Ledger::RandomKey();
    // Before the segment there is its entry, until it is marked: wherever we are killed, it is found.
    ASSIGN_OR_RETURN(const Ledger::Entry entry, parts.ledger->Enter({.kind = LeftBehind::Kind::kSysvMemory, .key = key}));
    OwnMemory memory;
    memory.place.id = Get(key, size, parts.hugepages);
    if (memory.place.id < 0 && errno == EEXIST) continue;
    if (memory.place.id < 0) return MakeError(errno, size, parts.hugepages);
    absl::StatusOr<Mapping> mapping = Mapping::OfSysv(memory.place.id, size, Mapping::Access::kReadWrite);
    bip::xsi_shared_memory::remove(memory.place.id);
    if (!mapping.ok()) return mapping.status();
    memory.mapping = *std::move(mapping);
    return memory;
  }
}

absl::StatusOr<Mapping> Map(const MemoryPlace& place, size_t size, Sharing sharing) {
  const auto wrong = [&](const auto&... why) {
    return absl::InvalidArgumentError(Cat("the peer's System V segment ", place.id, " ", why...));
  };
  shmid_ds info;
  if (shmctl(place.id, IPC_STAT, &info) != 0) {
    return absl::FailedPreconditionError(Cat("the peer's System V segment ", place.id, " is not to be found (", strerror(errno),
                                             "): is the peer in another IPC namespace?"));
  }
  if (info.shm_perm.uid != geteuid() || info.shm_perm.cuid != geteuid()) {
    return wrong("belongs to uid ", info.shm_perm.uid, ", not to us (uid ", geteuid(), "): is the peer in another IPC namespace?");
  }
  if ((info.shm_perm.mode & 0777) != 0600) return wrong("may be used by others: its mode is not 0600");
  if ((info.shm_perm.mode & SHM_DEST) == 0) return wrong("is not marked for removal: it would stay behind");
  if (info.shm_segsz != size) return wrong("has ", info.shm_segsz, " bytes where ", size, " were announced");
  return Mapping::OfSysv(place.id, size, PeerAccess(sharing));
}

int Lock(const OwnMemory& memory) { return shmctl(memory.place.id, SHM_LOCK, nullptr) == 0 ? 0 : errno; }

}  // namespace

const MemoryKind kSysvMemory = {.make = Make, .map = Map, .lock = Lock};

}  // namespace ipcrpc::shm
