#include "transport/snapshot/memory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "transport/base/strings.h"
#include "transport/snapshot/segment.h"

namespace ipcrpc::snapshot {
namespace {

constexpr std::array<const MemoryKind*, 3> kKinds = {&kFileMemory, &kPosixMemory, &kSysvMemory};

// More than a reference has.
constexpr size_t kReferenceBytes = 128;

}  // namespace

std::span<const MemoryKind* const> MemoryKinds() { return kKinds; }

const MemoryKind& KindOf(const UniqueFd& file) {
  const std::optional<shm::LeftBehind> reference = ReadReference(file);
  if (!reference) return kFileMemory;
  return reference->kind == shm::LeftBehind::Kind::kPosixMemory ? kPosixMemory : kSysvMemory;
}

void End(const UniqueFd& file) {
  // It may have been cut short; what counts is that the header is still there.
  if (const absl::StatusOr<Mapping> memory = KindOf(file).map(file, sizeof(Header), Mapping::Access::kReadWrite, true); memory.ok()) {
    MarkMoved(*memory);
  }
  RemoveMemory(file);
}

void RemoveMemory(const UniqueFd& file) {
  struct stat info;
  const std::optional<shm::LeftBehind> where = ReadReference(file);
  if (where && fstat(file.get(), &info) == 0) shm::RemoveIfOf(*where, info.st_uid);
}

std::optional<shm::LeftBehind> ReadReference(const UniqueFd& file) {
  char text[kReferenceBytes];
  const ssize_t n = pread(file.get(), text, sizeof text, 0);
  const std::string_view line(text, n < 0 ? 0 : static_cast<size_t>(n));
  if (!line.ends_with('\n')) return std::nullopt;
  std::optional<shm::LeftBehind> reference = shm::ParseLedgerLine(line.substr(0, line.size() - 1));
  if (reference && reference->kind == shm::LeftBehind::Kind::kSysvSemaphores) return std::nullopt;
  return reference;
}

absl::Status WriteReference(const UniqueFd& file, shm::LeftBehind what) {
  what.realm = shm::RealmOf(what.kind);
  const std::string text = Cat(shm::LedgerLine(what), "\n");
  if (pwrite(file.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())) return absl::OkStatus();
  return FileError(errno, "cannot write where the memory of the snapshot is");
}

absl::Status CheckHere(const shm::LeftBehind& what) {
  if (shm::Here(what)) return absl::OkStatus();
  return absl::FailedPreconditionError(Cat("the snapshot is in ", what.Describe(), " of another ",
                                           what.name.empty() ? "IPC namespace" : "/dev/shm", " than ours"));
}

absl::Status Reserve(const UniqueFd& fd, uint64_t size, const std::string& what) {
  int error;
  while ((error = posix_fallocate(fd.get(), 0, static_cast<off_t>(size))) == EINTR) {
  }
  return error == 0 ? absl::OkStatus() : FileError(error, Cat("cannot reserve ", size, " bytes for ", what));
}

absl::Status Permit(const UniqueFd& fd, const Permissions& who, const std::string& what) {
  if (who.group && fchown(fd.get(), static_cast<uid_t>(-1), *who.group) != 0) {
    return FileError(errno, Cat("cannot give ", what, " to group ", *who.group));
  }
  if (fchmod(fd.get(), who.mode) != 0) return FileError(errno, Cat("cannot set the mode of ", what));
  return absl::OkStatus();
}

std::string ModeText(mode_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", mode & 07777);
  return text;
}

absl::Status CheckOwner(uid_t owner, mode_t mode, uid_t expected, const std::string& what) {
  if (owner != expected) {
    return absl::PermissionDeniedError(
        Cat(what, " is not to be believed: it belongs to uid ", owner, ", and what names it to uid ", expected));
  }
  if ((mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::PermissionDeniedError(
        Cat(what, " is not to be believed: it has mode ", ModeText(mode), ", so others than its writer may change it"));
  }
  return absl::OkStatus();
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

}  // namespace ipcrpc::snapshot
