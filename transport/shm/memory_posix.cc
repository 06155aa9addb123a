// POSIX shared memory: a file in /dev/shm. It has a name only between being made and being opened anew to read; the
// peer gets the descriptor, which finds it in whatever mount namespace the peer lives.
//
// Files can't be sealed here, so it is for peers of our own uid, and what is mapped is guarded: one that cuts
// it short ends its connection, not our process. All its pages are there before it is used: a lazy file kills its
// writer when /dev/shm is full.
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <boost/interprocess/shared_memory_object.hpp>
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

absl::StatusOr<OwnMemory> Make(const Parts& parts, size_t size, Sharing sharing) {
  const std::string name = Ledger::RandomPosixName();
  OwnMemory memory;
  // Before the name there is its entry, and that stays as long as the name: wherever we are killed, it is found.
  ASSIGN_OR_RETURN(const Ledger::Entry entry, parts.ledger->Enter({.kind = LeftBehind::Kind::kPosixMemory, .name = name}));
  bip::shared_memory_object object;
  try {
    object = bip::shared_memory_object(bip::create_only, name.c_str(), bip::read_write, bip::permissions(0600));
    // The peer's descriptor cannot write, unless it must.
    bip::shared_memory_object peers(bip::open_only, name.c_str(), sharing == Sharing::kPeerReads ? bip::read_only : bip::read_write);
    memory.place.fd.reset(fcntl(peers.get_mapping_handle().handle, F_DUPFD_CLOEXEC, 0));
  } catch (const bip::interprocess_exception& error) {
    bip::shared_memory_object::remove(name.c_str());
    const int code = error.get_native_error();
    const std::string what = Cat("cannot make POSIX shared memory in /dev/shm (segment=posix): ", strerror(code));
    if (code == ENOSPC || code == EMFILE || code == ENFILE || code == ENOMEM || code == EDQUOT) return absl::ResourceExhaustedError(what);
    return absl::FailedPreconditionError(what);
  }
  bip::shared_memory_object::remove(name.c_str());
  if (!memory.place.fd.valid()) return absl::ErrnoToStatus(errno, "cannot keep POSIX shared memory open");
  const int fd = object.get_mapping_handle().handle;
  int error;
  while ((error = posix_fallocate(fd, 0, static_cast<off_t>(size))) == EINTR) {
  }
  if (error != 0) {
    return absl::ResourceExhaustedError(Cat("cannot allocate ", size, " bytes of POSIX shared memory in /dev/shm (segment=posix): ",
                                            strerror(error), "; see df /dev/shm"));
  }
  ASSIGN_OR_RETURN(memory.mapping, Mapping::OfFile(fd, size, Mapping::Access::kReadWrite, Mapping::Size::kCuttable));
  return memory;
}

absl::StatusOr<Mapping> Map(const MemoryPlace& place, size_t size, Sharing sharing) {
  const auto wrong = [](const auto&... why) { return absl::InvalidArgumentError(Cat("the peer's POSIX shared memory ", why...)); };
  if (!place.fd.valid()) return wrong("was not sent");
  struct stat info;
  struct statfs system;
  if (fstat(place.fd.get(), &info) != 0 || fstatfs(place.fd.get(), &system) != 0) {
    return absl::ErrnoToStatus(errno, "cannot examine the peer's POSIX shared memory");
  }
  if (!S_ISREG(info.st_mode) || system.f_type != TMPFS_MAGIC) return wrong("is not a file of a tmpfs");
  if (info.st_uid != geteuid()) return wrong("belongs to uid ", info.st_uid, ", not to us (uid ", geteuid(), ")");
  if ((info.st_mode & 07777) != 0600) return wrong("may be used by others: its mode is not 0600");
  if (info.st_nlink != 0) return wrong("still has a name");
  if (static_cast<uint64_t>(info.st_size) != size) return wrong("has ", info.st_size, " bytes where ", size, " were announced");
  if (static_cast<uint64_t>(info.st_blocks) * 512 < size) return wrong("has holes: it was not allocated");
  return Mapping::OfFile(place.fd.get(), size, PeerAccess(sharing), Mapping::Size::kCuttable);
}

}  // namespace

const MemoryKind kPosixMemory = {.make = Make, .map = Map, .lock = LockMapping};

}  // namespace ipcrpc::shm
