#include "transport/snapshot/finder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "transport/address_parameters.h"
#include "transport/base/fd.h"
#include "transport/base/process.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/snapshot/file_names.h"
#include "transport/snapshot/memory.h"
#include "transport/unix_socket.h"

namespace ipcrpc::snapshot {
namespace {

// How often a file may be replaced while we look at it.
constexpr int kLooks = 8;

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
  return CheckOwner(info.st_uid, info.st_mode, info.st_uid, path);
}

absl::StatusOr<FoundSegment> Open(const std::string& path, std::optional<uid_t> believe, bool guarded) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) return OpenError(errno, path);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return absl::ErrnoToStatus(errno, Cat("cannot examine ", path));
  RETURN_IF_ERROR(CheckTrust(info, path, believe));
  absl::StatusOr<Mapping> memory = KindOf(file).map(file, kMaxSegmentBytes, Mapping::Access::kRead, guarded);
  if (!memory.ok()) return absl::Status(memory.status().code(), Cat(path, ": ", MessageOf(memory.status())));
  memory->Inherit();
  FoundSegment found = {.memory = *std::move(memory), .path = path, .file = {info.st_dev, info.st_ino}, .shape = {}};
  ASSIGN_OR_RETURN(found.shape, ReadShape(found.memory, path));
  return found;
}

// Looks again when the file that was there has been replaced, and its memory is gone with it.
absl::StatusOr<FoundSegment> OpenNewest(const std::string& path, std::optional<uid_t> believe, bool guarded) {
  for (int look = 1;; ++look) {
    const FileId before = FileAt(path);
    absl::StatusOr<FoundSegment> found = Open(path, believe, guarded);
    if (found.ok() || !absl::IsNotFound(found.status()) || look == kLooks || FileAt(path) == before) return found;
  }
}

}  // namespace

absl::StatusOr<Address> ParsePlace(const std::string& text) {
  ASSIGN_OR_RETURN(Address address, ParseAddress(text));
  if (address.scheme != "ipc" || address.kind == Address::Kind::kAbstract) {
    return absl::InvalidArgumentError(
        Cat("snapshot '", text, "': expected a name, like monitor.net, or the path of a file with a slash"));
  }
  return address;
}

FileId FileAt(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? FileId{info.st_dev, info.st_ino} : FileId{};
}

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

absl::StatusOr<FoundSegment> Find(const ReadPlace& place, bool guarded) {
  std::optional<FoundSegment> dead;
  std::vector<std::string> failures;
  absl::StatusCode code = absl::StatusCode::kNotFound;
  for (const std::string& path : place.paths) {
    absl::StatusOr<FoundSegment> found = OpenNewest(path, place.believe, guarded);
    if (found.ok()) {
      if (WriterOf(found->shape).state != SnapshotWriter::State::kDead) return found;
      if (!dead) dead = *std::move(found);
      continue;
    }
    failures.emplace_back(MessageOf(found.status()));
    if (code == absl::StatusCode::kNotFound) code = found.status().code();
  }
  if (dead) return *std::move(dead);
  return absl::Status(
      code, Cat(code == absl::StatusCode::kNotFound ? "no such snapshot: " : "cannot read the snapshot: ",
                Join(failures, "; ")));
}

}  // namespace ipcrpc::snapshot
