#include "transport/rendezvous/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "transport/address_parameters.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/peer.h"
#include "transport/rendezvous/leftovers.h"

namespace ipcrpc::rendezvous {
namespace {

constexpr size_t kMaxReferenceBytes = 256;

absl::Status NotBelieved(const std::string& path, uid_t owner, std::optional<uid_t> also) {
  return absl::PermissionDeniedError(
      Cat(path, ": its server is not to be believed: it belongs to uid ", owner, "; only root, our own uid (", geteuid(),
          ")", also ? Cat(" and uid ", *also, " are") : " or the one of ?uid= is"));
}

absl::Status OpenFailed(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) return absl::UnavailableError(Cat(path, " does not exist"));
  if (error == ELOOP) return absl::PermissionDeniedError(Cat(path, " is a symbolic link, which is not followed"));
  if (error == EACCES || error == EPERM) {
    struct stat info;
    const std::string owner = lstat(path.c_str(), &info) == 0
                                  ? Cat(" (it belongs to uid ", info.st_uid, ", we are uid ", geteuid(),
                                        "; its server can set ?mode= or ?group=)")
                                  : "";
    return absl::PermissionDeniedError(Cat(path, ": permission denied", owner));
  }
  if (error == EMFILE || error == ENFILE) {
    return absl::ResourceExhaustedError(Cat("no file descriptor left to connect to ", path));
  }
  return absl::UnavailableError(Cat(path, ": ", strerror(error)));
}

absl::StatusOr<FoundPlace> FindAt(const Mechanism& mechanism, std::string base, std::string path,
                                  std::optional<uid_t> believe) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return OpenFailed(path, errno);
  const bool is_fifo = mechanism.kind() == Kind::kFifo;
  // Looked at before it is opened: opening a device may have effects.
  if (S_ISLNK(info.st_mode)) return OpenFailed(path, ELOOP);
  const bool believed = info.st_uid != PeerIdentity::kUnknownUid &&
                        (info.st_uid == 0 || info.st_uid == geteuid() || (believe && info.st_uid == *believe));
  if (!believed) return NotBelieved(path, info.st_uid, believe);
  if (is_fifo ? !S_ISFIFO(info.st_mode) : !S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(
        Cat(path, " is not a ", is_fifo ? "FIFO" : "file that a server of ours makes", "; it is for another scheme"));
  }
  FoundPlace place = {.path = path, .base = std::move(base), .reference = {}, .file = {}, .owner = info.st_uid};
  if (is_fifo) return place;
  absl::StatusOr<ReferenceFile> opened = OpenReference(path);
  if (!opened.ok()) return OpenFailed(path, errno);
  if (opened->owner != info.st_uid) return NotBelieved(path, opened->owner, believe);
  if (!Alive(opened->file.get(), Side::kServer)) {
    return absl::UnavailableError(Cat(path, ": nobody listens there (its server is gone)"));
  }
  std::optional<std::string> reference = ParseReference(mechanism, opened->text);
  if (!reference) {
    return absl::FailedPreconditionError(Cat(path, " is not a file that a server of ", mechanism.scheme(), ": makes"));
  }
  place.reference = *std::move(reference);
  place.file = std::move(opened->file);
  return place;
}

}  // namespace

absl::Status Grant(int fd, const Access& access, const std::string& what) {
  if (access.owner || access.group) {
    const uid_t owner = access.owner.value_or(static_cast<uid_t>(-1));
    const gid_t group = access.group.value_or(static_cast<gid_t>(-1));
    if (fchown(fd, owner, group) != 0) {
      return absl::PermissionDeniedError(Cat("cannot give ", what, " to ", access.owner ? Cat("uid ", owner) : Cat("group ", group),
                                             ": ", strerror(errno), " (only root, or a member of the group, may)"));
    }
  }
  if (fchmod(fd, access.mode) != 0) return absl::ErrnoToStatus(errno, Cat("cannot set the mode of ", what));
  return absl::OkStatus();
}

bool HasOpen(pid_t pid, int fd, int own_fd) {
  struct stat ours, theirs;
  return fstat(own_fd, &ours) == 0 && stat(Cat("/proc/", pid, "/fd/", fd).c_str(), &theirs) == 0 &&
         ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

absl::StatusOr<ReferenceFile> OpenReference(const std::string& path) {
  ReferenceFile result;
  result.file.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat info;
  char text[kMaxReferenceBytes];
  ssize_t size = -1;
  if (result.file.valid() && fstat(result.file.get(), &info) == 0) {
    if (!S_ISREG(info.st_mode)) {
      errno = EINVAL;
    } else {
      size = pread(result.file.get(), text, sizeof text, 0);
    }
  }
  if (size < 0) return absl::ErrnoToStatus(errno, "");
  result.text.assign(text, static_cast<size_t>(size));
  while (result.text.ends_with('\n')) result.text.pop_back();
  result.owner = info.st_uid;
  return result;
}

absl::StatusOr<FoundPlace> FindPlace(const Mechanism& mechanism, const Address& address) {
  std::optional<uid_t> believe;
  if (FindParameter(address, "uid") != nullptr) {
    ASSIGN_OR_RETURN(believe, UidParameter(address, "uid"));
  }
  const std::string what = Cat("cannot reach ", address.ToString(), ": ");
  if (address.kind == Address::Kind::kAbstract) {
    return absl::InvalidArgumentError(Cat(what, mechanism.scheme(), ": has no abstract names; expected a name or a path"));
  }
  if (address.kind == Address::Kind::kPath) {
    ASSIGN_OR_RETURN(const std::string path, AbsolutePath(address.rest));
    absl::StatusOr<FoundPlace> place = FindAt(mechanism, path, path, believe);
    if (place.ok()) return place;
    return absl::Status(place.status().code(), Cat(what, MessageOf(place.status())));
  }
  std::vector<std::string> failures;
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  for (const std::string& directory : ClientDirectories()) {
    const std::string base = Cat(directory, "/", address.rest);
    absl::StatusOr<FoundPlace> place = FindAt(mechanism, base, Cat(base, ".", mechanism.scheme()), believe);
    if (place.ok()) return place;
    if (code == absl::StatusCode::kUnavailable) code = place.status().code();
    failures.emplace_back(MessageOf(place.status()));
  }
  return absl::Status(code, Cat(what, Join(failures, "; ")));
}

}  // namespace ipcrpc::rendezvous
