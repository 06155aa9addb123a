#include "transport/snapshot/file_home.h"

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
#include "transport/unix_socket.h"

namespace ipcrpc::snapshot {
namespace {

absl::StatusOr<Address> ParsePlace(const std::string& text) {
  ASSIGN_OR_RETURN(Address address, ParseAddress(text));
  if (address.scheme != "ipc" || address.kind == Address::Kind::kAbstract) {
    return absl::InvalidArgumentError(
        Cat("snapshot '", text, "': expected a name, like monitor.net, or the path of a file with a slash"));
  }
  return address;
}

absl::StatusOr<mode_t> FileMode(const Address& address) {
  ASSIGN_OR_RETURN(const mode_t mode, ModeParameter(address));
  if ((mode & 0133) != 0) {
    return BadParameter(address, "mode", "0644, 0640 or 0600: readers only read, and nobody else may write");
  }
  return mode | 0600;
}

absl::Status FileError(int error, const std::string& what) {
  const std::string text = Cat(what, ": ", strerror(error));
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case ENOENT:
    case ENOTDIR:
      return absl::FailedPreconditionError(Cat(text, " (no such directory)"));
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::ErrnoToStatus(error, what);
  }
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
  const bool snapshot = magic == kMagic || (magic == 0 && may_be_unfinished);
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

// ---- reading -----------------------------------------------------------------------------------

absl::Status OpenError(int error, const std::string& path) {
  struct stat info;
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(Cat(path, " does not exist"));
    case EACCES:
    case EPERM:
      if (stat(path.c_str(), &info) != 0)
        return absl::PermissionDeniedError(Cat(path, ": permission denied"));
      return absl::PermissionDeniedError(Cat(path, ": permission denied (it belongs to uid ", info.st_uid,
                                             ", we are uid ", geteuid(),
                                             "; its writer can set ?mode= or ?group=)"));
    case ENXIO:
      return absl::FailedPreconditionError(Cat(path, " is not a regular file"));
    default:
      return FileError(error, Cat("cannot open ", path));
  }
}

absl::Status CheckTrust(const struct stat& info, const std::string& path, std::optional<uid_t> believe) {
  if (!S_ISREG(info.st_mode)) return absl::FailedPreconditionError(Cat(path, " is not a regular file"));
  if (info.st_uid != 0 && info.st_uid != geteuid() && (!believe || info.st_uid != *believe)) {
    return absl::PermissionDeniedError(
        Cat(path, " is not to be believed: it belongs to uid ", info.st_uid, "; only root's, our own (uid ",
            geteuid(), ")", believe ? Cat(" and uid ", *believe, "'s are") : " or that of ?uid= is"));
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777);
    return absl::PermissionDeniedError(
        Cat(path, " is not to be believed: it has mode ", mode, ", so others than its writer may change it"));
  }
  return absl::OkStatus();
}

absl::StatusOr<FoundFile> OpenFile(const std::string& path, std::optional<uid_t> believe) {
  FoundFile file;
  file.path = path;
  file.fd.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.fd.valid()) return OpenError(errno, path);
  struct stat info;
  if (fstat(file.fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, Cat("cannot examine ", path));
  RETURN_IF_ERROR(CheckTrust(info, path, believe));
  ASSIGN_OR_RETURN(file.shape, ReadShape(file.fd, path));
  return file;
}

}  // namespace

// ---- FileHome ----------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<FileHome>> FileHome::Take(const std::string& place) {
  ASSIGN_OR_RETURN(const Address address, ParsePlace(place));
  RETURN_IF_ERROR(CheckParameters(address, {"mode", "group"}));
  std::unique_ptr<FileHome> home(new FileHome);
  home->owner_ = getpid();
  ASSIGN_OR_RETURN(home->mode_, FileMode(address));
  if (FindParameter(address, "group") != nullptr) {
    ASSIGN_OR_RETURN(home->group_, GidParameter(address, "group"));
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

absl::StatusOr<const UniqueFd*> FileHome::NewFile(uint64_t size) {
  const std::string path = NewPath(path_);
  pending_.reset(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!pending_.valid()) return FileError(errno, Cat("cannot make the snapshot ", path));
  absl::Status status;
  // A file with holes would kill its writer with SIGBUS when the file system is full.
  if (const int error = posix_fallocate(pending_.get(), 0, static_cast<off_t>(size)); error != 0) {
    status = FileError(error, Cat("cannot reserve ", size, " bytes for the snapshot ", path));
  } else if (group_ && fchown(pending_.get(), static_cast<uid_t>(-1), *group_) != 0) {
    status = FileError(errno, Cat("cannot give the snapshot ", path, " to group ", *group_));
  } else if (fchmod(pending_.get(), mode_) != 0) {
    status = FileError(errno, Cat("cannot set the mode of the snapshot ", path));
  }
  if (!status.ok()) {
    Drop();
    return status;
  }
  return &pending_;
}

void FileHome::Drop() {
  if (!pending_.valid()) return;
  unlink(NewPath(path_).c_str());
  pending_.reset();
}

absl::Status FileHome::Place() {
  if (const int error = Exchange(NewPath(path_), path_); error != 0) {
    Drop();
    return FileError(error, Cat("cannot put the snapshot at ", path_));
  }
  // Only now, so that readers who look the name up find the successor.
  if (placed_.valid()) MarkMoved(placed_);
  unlink(NewPath(path_).c_str());
  placed_ = std::move(pending_);
  ours_ = true;
  return absl::OkStatus();
}

FileHome::~FileHome() {
  if (owner_ != getpid()) return;
  Drop();
  if (ours_) {
    MarkMoved(placed_);
    if (IsFile(path_, placed_)) unlink(path_.c_str());
  }
  if (!registered_) return;
  const std::lock_guard lock(Own().mu);
  Own().paths.erase(path_);
}

void RemoveDead(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (fd.valid()) MarkMoved(fd);
  unlink(path.c_str());
}

// ---- finding -----------------------------------------------------------------------------------

absl::StatusOr<ReadPlace> ParseReadPlace(const std::string& text) {
  ASSIGN_OR_RETURN(const Address address, ParsePlace(text));
  RETURN_IF_ERROR(CheckParameters(address, {"uid"}));
  ReadPlace place;
  if (FindParameter(address, "uid") != nullptr) {
    ASSIGN_OR_RETURN(place.believe, UidParameter(address, "uid"));
  }
  if (address.kind == Address::Kind::kPath) {
    place.paths.push_back(address.rest);
    return place;
  }
  for (const std::string& directory : ClientDirectories()) {
    place.paths.push_back(Cat(directory, "/", address.rest, kSuffix));
  }
  return place;
}

SnapshotWriter WriterOf(const Shape& shape) {
  SnapshotWriter writer;
  writer.pid = shape.writer_pid;
  if (shape.writer_namespace != PidNamespace()) {
    writer.state = SnapshotWriter::State::kInvisible;
  } else {
    writer.state = ProcessAlive(shape.writer_pid, shape.writer_start) ? SnapshotWriter::State::kAlive
                                                                      : SnapshotWriter::State::kDead;
  }
  return writer;
}

absl::StatusOr<FoundFile> FindFile(const ReadPlace& place) {
  std::optional<FoundFile> dead;
  std::vector<std::string> failures;
  absl::StatusCode code = absl::StatusCode::kNotFound;
  for (const std::string& path : place.paths) {
    absl::StatusOr<FoundFile> file = OpenFile(path, place.believe);
    if (file.ok()) {
      if (WriterOf(file->shape).state != SnapshotWriter::State::kDead) return file;
      if (!dead) dead = *std::move(file);
      continue;
    }
    failures.emplace_back(MessageOf(file.status()));
    if (code == absl::StatusCode::kNotFound) code = file.status().code();
  }
  if (dead) return *std::move(dead);
  return absl::Status(
      code, Cat(code == absl::StatusCode::kNotFound ? "no such snapshot: " : "cannot read the snapshot: ",
                Join(failures, "; ")));
}

}  // namespace ipcrpc::snapshot
