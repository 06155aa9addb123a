// What processes that died left in the kernel: POSIX and System V shared memory, System V semaphores. Which they
// are is written in the ledgers (ledger.h) of the dead, files of the runtime directory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ipcrpc::shm {

struct LeftBehind {
  enum class Kind { kPosixMemory, kSysvMemory, kSysvSemaphores };
  Kind kind = Kind::kPosixMemory;
  std::string name{};  // of POSIX memory
  uint32_t key = 0;    // of System V
  // Where the name or key means something: the file system of /dev/shm, the IPC namespace. Else it is not ours to touch.
  uint64_t realm = 0;

  std::string Describe() const;  // "System V semaphores with key 0x1234abcd"
};

inline constexpr std::string_view kLedgerSuffix = ".owned";

// Of the kind, as seen by this process. 0 unknown.
uint64_t RealmOf(LeftBehind::Kind kind);
std::string LedgerLine(const LeftBehind& what);
// What LedgerLine() gave; nothing when it is no such line.
std::optional<LeftBehind> ParseLedgerLine(std::string_view line);
// It is where this process could find it.
bool Here(const LeftBehind& what);
// It is there, and `owner` made it.
bool Exists(const LeftBehind& what, uid_t owner);
// Removes it if it is here, and `owner` made it.
void RemoveIfOf(const LeftBehind& what, uid_t owner);

// Removes what a ledger names, and then the ledger. REQUIRES: its lock is held, so that its owner is dead. False: some
// of it is in another namespace, so that the ledger stays for whoever sees that.
bool SweepLedger(const std::string& path);

// For `ipcrpc doctor`.
struct LeftBehindBy {
  std::string ledger;  // the file
  LeftBehind what;
  bool here = true;  // false: in another namespace, where a doctor must be run to remove it
};
// What a ledger names and what is still there, or cannot be seen from here. Empty where there is no such ledger.
std::vector<LeftBehindBy> ListLedger(const std::string& path);
// Everything that the dead left, by the ledgers of these directories (ClientDirectories(), say).
std::vector<LeftBehindBy> ListLeftBehind(const std::vector<std::string>& directories);
// Removes it, and says what it removed. Never what a living process has.
std::vector<LeftBehindBy> CleanLeftBehind(const std::vector<std::string>& directories);

}  // namespace ipcrpc::shm
