#include "transport/snapshot/named_home.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>

#include "transport/address_parameters.h"
#include "transport/base/process.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/snapshot/file_names.h"
#include "transport/snapshot/segment.h"
#include "transport/unix_socket.h"

namespace ipcrpc::snapshot {
namespace {

absl::StatusOr<mode_t> FileMode(const Address& address) {
  ASSIGN_OR_RETURN(const mode_t mode, ModeParameter(address));
  if ((mode & 0133) != 0) {
    return BadParameter(address, "mode", "0644, 0640 or 0600: readers only read, and nobody else may write");
  }
  return mode | 0600;
}

// What is at `path` already, open for writing; an invalid fd when nothing is. Its lock is ours, so its writer
// is dead. Anything but a snapshot is somebody else's; an unfinished one is still zeros.
absl::StatusOr<UniqueFd> OpenPredecessor(const std::string& path, bool may_be_unfinished) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    if (errno == ENOENT) return UniqueFd();
    if (errno == ELOOP || errno == EISDIR || errno == ENXIO) {
      return absl::AlreadyExistsError(
          Cat("cannot make the snapshot ", path, ": it exists and is not a regular file"));
    }
    return FileError(errno, Cat("cannot replace ", path));
  }
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, Cat("cannot examine ", path));
  uint64_t magic = 0;
  const bool read = S_ISREG(info.st_mode) && pread(fd.get(), &magic, sizeof magic, 0) >= 0;
  const bool snapshot = magic == kMagic || ReadReference(fd) || (magic == 0 && may_be_unfinished);
  if (!read || !snapshot)
    return absl::AlreadyExistsError(
        Cat("cannot make the snapshot ", path, ": it exists and is not a snapshot"));
  return fd;
}

std::string NewPath(const std::string& path) { return Cat(path, kNewSuffix.substr(kSuffix.size())); }

bool IsFile(const std::string& path, const UniqueFd& fd) {
  struct stat there, mine;
  return lstat(path.c_str(), &there) == 0 && fstat(fd.get(), &mine) == 0 && there.st_dev == mine.st_dev &&
         there.st_ino == mine.st_ino;
}

// The files that this process publishes, which share one lock for each name.
struct OwnFiles {
  std::mutex mu;
  std::set<std::string> paths;
};
OwnFiles& Own() {
  static auto* const own = new OwnFiles;
  return *own;
}

// Puts `from` at `to`, and what is there, if anything, at `from`. 0 or errno.
int Exchange(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) return 0;
  // Nothing there, or a file system that cannot exchange: then a writer that dies right here leaves a file
  // without a name that is not marked as over.
  if (errno != ENOENT && errno != EINVAL && errno != ENOSYS) return errno;
  return rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

}  // namespace

// ---- NamedHome ----------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<NamedHome>> NamedHome::Take(const Address& address, const MemoryKind& kind) {
  std::unique_ptr<NamedHome> home(new NamedHome(kind));
  ASSIGN_OR_RETURN(home->who_.mode, FileMode(address));
  if (FindParameter(address, "group") != nullptr) {
    ASSIGN_OR_RETURN(home->who_.group, GidParameter(address, "group"));
  }
  if (address.kind == Address::Kind::kName) {
    ASSIGN_OR_RETURN(const std::string directory, ServerDirectory());
    const std::string base = Cat(directory, "/", address.rest);
    home->path_ = Cat(base, kSuffix);
    ASSIGN_OR_RETURN(home->lock_, NameLock::Take(base, true));
    SweepDirectory(directory);
  } else {
    ASSIGN_OR_RETURN(home->path_, AbsolutePath(address.rest));
    ASSIGN_OR_RETURN(home->lock_, NameLock::Take(home->path_, false));
  }
  {
    const std::lock_guard lock(Own().mu);
    if (!Own().paths.insert(home->path_).second) {
      return absl::AlreadyExistsError(
          Cat("cannot make the snapshot ", home->path_, ": this process publishes it already"));
    }
    home->registered_ = true;
  }
  ASSIGN_OR_RETURN(home->placed_, OpenPredecessor(home->path_, false));
  ASSIGN_OR_RETURN(const UniqueFd unfinished, OpenPredecessor(NewPath(home->path_), true));
  if (unfinished.valid()) RemoveDead(NewPath(home->path_));
  return home;
}

absl::StatusOr<Mapping> NamedHome::NewMemory(uint64_t size) {
  const std::string path = NewPath(path_);
  pending_.reset(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!pending_.valid()) return FileError(errno, Cat("cannot make the snapshot ", path));
  absl::StatusOr<Mapping> memory = kind_.make(pending_, size, who_);
  if (memory.ok()) return memory;
  Drop();
  return absl::Status(memory.status().code(), Cat(path, ": ", MessageOf(memory.status())));
}

void NamedHome::Drop() {
  if (!pending_.valid()) return;
  RemoveMemory(pending_);
  unlink(NewPath(path_).c_str());
  pending_.reset();
}

absl::Status NamedHome::Place() {
  if (const int error = Exchange(NewPath(path_), path_); error != 0) {
    Drop();
    return FileError(error, Cat("cannot put the snapshot at ", path_));
  }
  // Only now, so that readers who look the name up find the successor.
  if (placed_.valid()) End(placed_);
  unlink(NewPath(path_).c_str());
  placed_ = std::move(pending_);
  ours_ = true;
  return absl::OkStatus();
}

NamedHome::~NamedHome() {
  if (!fork_guard_.ours()) return;
  Drop();
  if (ours_) {
    End(placed_);
    if (IsFile(path_, placed_)) unlink(path_.c_str());
  }
  if (!registered_) return;
  const std::lock_guard lock(Own().mu);
  Own().paths.erase(path_);
}

bool RemoveDead(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (fd.valid()) {
    const std::optional<shm::LeftBehind> elsewhere = ReadReference(fd);
    if (elsewhere && !CheckHere(*elsewhere).ok()) return false;
    End(fd);
  }
  unlink(path.c_str());
  return true;
}

}  // namespace ipcrpc::snapshot
