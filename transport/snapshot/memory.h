// Memory of snapshots that have a name: a file in the runtime directory, which is the memory itself or says which
// POSIX or System V segment is. So readers need not know the kind, and whoever finds the file of a dead writer
// finds the memory, too: it is written before there is any.
//
// Each kind (memory_file.cc, memory_posix.cc, memory_sysv.cc) is a row of one table.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/shm/left_behind.h"
#include "transport/shm/mapping.h"

namespace ipcrpc::snapshot {

using shm::Mapping;

// Who may read. Nobody but the owner may write.
struct Permissions {
  mode_t mode = 0600;
  std::optional<gid_t> group;
};

struct MemoryKind {
  std::string_view name;  // of ?home=

  // Memory of `size` zeroes, whose pages are there. `file` is new and empty, and ours.
  // RESOURCE_EXHAUSTED: no room; PERMISSION_DENIED.
  absl::StatusOr<Mapping> (*make)(const UniqueFd& file, uint64_t size, const Permissions& who);

  // What is there, at most `most` bytes. Its owner is that of `file`, and nobody else may write to it. `guarded`: where it
  // can be cut short. NOT_FOUND: it is gone; FAILED_PRECONDITION: not memory of this kind, or in another namespace;
  // PERMISSION_DENIED.
  absl::StatusOr<Mapping> (*map)(const UniqueFd& file, uint64_t most, Mapping::Access access, bool guarded);
};

std::span<const MemoryKind* const> MemoryKinds();
// By what the file begins with; a file of nothing in particular is taken for memory.
const MemoryKind& KindOf(const UniqueFd& file);

// Ends the snapshot of `file`, open for writing if that is the memory: its readers and sleepers see that it is over;
// and removes what memory it names.
void End(const UniqueFd& file);

// Removes the memory, as far as it is not the file.
void RemoveMemory(const UniqueFd& file);

// What a file says of memory elsewhere; nothing when it does not.
std::optional<shm::LeftBehind> ReadReference(const UniqueFd& file);
absl::Status WriteReference(const UniqueFd& file, shm::LeftBehind what);
// FAILED_PRECONDITION: it cannot be in this namespace.
absl::Status CheckHere(const shm::LeftBehind& what);

// Pages for a file of zeroes, now: one with holes kills its writer with SIGBUS when the file system is full.
absl::Status Reserve(const UniqueFd& fd, uint64_t size, const std::string& what);
absl::Status Permit(const UniqueFd& fd, const Permissions& who, const std::string& what);
// Checks the owner, and that nobody else may write.
absl::Status CheckOwner(uid_t owner, mode_t mode, uid_t expected, const std::string& what);
// 0644 as text.
std::string ModeText(mode_t mode);

absl::Status FileError(int error, const std::string& what);

extern const MemoryKind kFileMemory;
extern const MemoryKind kPosixMemory;
extern const MemoryKind kSysvMemory;

}  // namespace ipcrpc::snapshot
