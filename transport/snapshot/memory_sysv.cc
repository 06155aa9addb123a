// System V shared memory: a segment with a random key. Nobody can cut it short; ipcs -m lists it.
#include <sys/shm.h>
#include <sys/stat.h>

#include <boost/interprocess/xsi_key.hpp>
#include <boost/interprocess/xsi_shared_memory.hpp>
#include <cerrno>
#include <cstring>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/ledger.h"
#include "transport/snapshot/memory.h"

namespace ipcrpc::snapshot {
namespace {

namespace bip = boost::interprocess;
using shm::LeftBehind;

absl::Status MakeError(int error, uint64_t size) {
  const std::string what = Cat("cannot make ", size, " bytes of System V shared memory (home=sysv)");
  if (error == EINVAL) return absl::ResourceExhaustedError(Cat(what, ": kernel.shmmax is the most that a segment may have"));
  if (error == ENOSYS) return absl::FailedPreconditionError(Cat(what, ": this system has none"));
  return FileError(error, what);
}

// Who may read, of what is 0600 so far.
absl::Status PermitSegment(int id, const Permissions& who) {
  shmid_ds info;
  if (shmctl(id, IPC_STAT, &info) == 0) {
    info.shm_perm.mode = static_cast<decltype(info.shm_perm.mode)>(who.mode);
    if (who.group) info.shm_perm.gid = *who.group;
    if (shmctl(id, IPC_SET, &info) == 0) return absl::OkStatus();
  }
  return FileError(errno, "cannot set the mode of the snapshot's System V shared memory");
}

absl::StatusOr<Mapping> Make(const UniqueFd& file, uint64_t size, const Permissions& who) {
  for (;;) {
    const LeftBehind where = {.kind = LeftBehind::Kind::kSysvMemory, .key = shm::Ledger::RandomKey()};
    RETURN_IF_ERROR(WriteReference(file, where));
    int id = -1;
    try {
      const bip::xsi_key key(static_cast<key_t>(where.key));
      id = bip::xsi_shared_memory(bip::create_only, key, size, bip::permissions(0600)).get_shmid();
    } catch (const bip::interprocess_exception& error) {
      if (error.get_native_error() == EEXIST) continue;
      return MakeError(error.get_native_error(), size);
    }
    RETURN_IF_ERROR(PermitSegment(id, who));
    RETURN_IF_ERROR(Permit(file, who, "the snapshot"));
    return Mapping::OfSysv(id, size, Mapping::Access::kReadWrite);
  }
}

absl::StatusOr<Mapping> Map(const UniqueFd& file, uint64_t most, Mapping::Access access, bool) {
  const std::optional<LeftBehind> where = ReadReference(file);
  if (!where) return absl::NotFoundError("it does not say where its memory is");
  RETURN_IF_ERROR(CheckHere(*where));
  const std::string what = where->Describe();
  shmid_ds info;
  struct stat mine;
  const int id = shmget(static_cast<key_t>(where->key), 0, 0);
  if (id < 0 || shmctl(id, IPC_STAT, &info) != 0) {
    if (errno == EACCES) return absl::PermissionDeniedError(Cat(what, ": permission denied"));
    return absl::NotFoundError(Cat(what, " is gone"));
  }
  if (fstat(file.get(), &mine) != 0) return absl::ErrnoToStatus(errno, "cannot examine the snapshot");
  const mode_t mode = info.shm_perm.mode & 0777;
  RETURN_IF_ERROR(CheckOwner(info.shm_perm.cuid, mode, mine.st_uid, what));
  RETURN_IF_ERROR(CheckOwner(info.shm_perm.uid, mode, mine.st_uid, what));
  if (info.shm_segsz > most && access == Mapping::Access::kRead) {
    return absl::FailedPreconditionError(Cat(what, " is larger than any snapshot"));
  }
  // One cannot attach a part.
  return Mapping::OfSysv(id, info.shm_segsz, access);
}

}  // namespace

const MemoryKind kSysvMemory = {.name = "sysv", .make = Make, .map = Map};

}  // namespace ipcrpc::snapshot
