// POSIX shared memory: an object in /dev/shm with a random name. Where the runtime directory is on a disk or small, this
// is not. It can be cut short as a file can.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/interprocess/shared_memory_object.hpp>
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

absl::StatusOr<Mapping> Make(const UniqueFd& file, uint64_t size, const Permissions& who) {
  const LeftBehind where = {.kind = LeftBehind::Kind::kPosixMemory, .name = shm::Ledger::RandomPosixName()};
  RETURN_IF_ERROR(WriteReference(file, where));
  UniqueFd fd;
  try {
    const bip::shared_memory_object object(bip::create_only, where.name.c_str(), bip::read_write, bip::permissions(0600));
    fd = UniqueFd::DuplicateOf(object.get_mapping_handle().handle);
  } catch (const bip::interprocess_exception& error) {
    return FileError(error.get_native_error(), "cannot make POSIX shared memory in /dev/shm (home=posix)");
  }
  RETURN_IF_ERROR(Reserve(fd, size, where.Describe()));
  RETURN_IF_ERROR(Permit(fd, who, where.Describe()));
  RETURN_IF_ERROR(Permit(file, who, "the snapshot"));
  return Mapping::OfFile(fd.get(), size, Mapping::Access::kReadWrite, Mapping::Size::kCuttable);
}

absl::StatusOr<Mapping> Map(const UniqueFd& file, uint64_t most, Mapping::Access access, bool guarded) {
  const std::optional<LeftBehind> where = ReadReference(file);
  if (!where) return absl::NotFoundError("it does not say where its memory is");
  RETURN_IF_ERROR(CheckHere(*where));
  const std::string what = where->Describe();
  // Not by shm_open(), which waits for a writer where somebody put a FIFO.
  const int flags = access == Mapping::Access::kRead ? O_RDONLY : O_RDWR;
  const UniqueFd fd(open(Cat("/dev/shm/", where->name).c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return errno == ENOENT ? absl::NotFoundError(Cat(what, " is gone")) : FileError(errno, Cat("cannot open ", what));
  struct stat named, mine;
  if (fstat(fd.get(), &named) != 0 || fstat(file.get(), &mine) != 0) return absl::ErrnoToStatus(errno, Cat("cannot examine ", what));
  if (!S_ISREG(named.st_mode)) return absl::FailedPreconditionError(Cat(what, " is not a regular file"));
  RETURN_IF_ERROR(CheckOwner(named.st_uid, named.st_mode, mine.st_uid, what));
  return kFileMemory.map(fd, most, access, guarded);
}

}  // namespace

const MemoryKind kPosixMemory = {.name = "posix", .make = Make, .map = Map};

}  // namespace ipcrpc::snapshot
