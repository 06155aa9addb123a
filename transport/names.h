// Names on disk: where the files of a plain name ("monitor") live, who owns the name, and the removal of
// what the dead left.
//
// A name NAME has, in a runtime directory, NAME.lock and beside it one file per way to reach its server:
// NAME.sock (unix), NAME.shm (the control socket of shm), NAME.fifo, NAME.snap; and, where a successor may take over,
// NAME.SCHEME.ctl (transport/takeover). A path has only PATH.lock and PATH.SCHEME.ctl. A process with things in the kernel
// that would outlive it has a random name with a ledger of them (shm/ledger.h), NAME.owned.
// The lock is an OFD lock on NAME.lock: the kernel drops it when its holder dies, however that
// happens. One process owns all of a name; within it several schemes share it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/fd.h"

namespace ipcrpc {

// The directory in which a server binds plain names, made when missing (0755): $IPCRPC_RUNTIME_DIR, else
// $XDG_RUNTIME_DIR/ipcrpc when not root, else /run/ipcrpc. FAILED_PRECONDITION when there is none, or when
// somebody else could replace what is in it; PERMISSION_DENIED when it cannot be made.
absl::StatusOr<std::string> ServerDirectory();

// Where a client looks for plain names, in this order: $IPCRPC_RUNTIME_DIR, $XDG_RUNTIME_DIR/ipcrpc,
// /run/ipcrpc.
std::vector<std::string> ClientDirectories();

// The process that a lock file names.
struct LockOwner {
  pid_t pid = 0;            // 0: the file does not say
  uint64_t start_time = 0;  // field 22 of /proc/PID/stat: tells it from a later process of the same pid
  bool alive = false;       // such a process exists and was started at that time
};

// The ownership of a name by this process, shared by all that hold one for the same `base`. Any thread.
class NameLock {
 public:
  // Takes the lock of `base` ("/run/ipcrpc/monitor" or a path). `plain_name`: the files beside it that a dead
  // owner left are removed. ALREADY_EXISTS names the living owner's pid.
  static absl::StatusOr<std::unique_ptr<NameLock>> Take(const std::string& base, bool plain_name);

  // Of another process that hands its lock over: `fd` is the open file description that has it, so that both
  // processes hold the lock until one of them drops it. FAILED_PRECONDITION: it is not the lock of `base`, or the
  // lock is another's.
  static absl::StatusOr<std::unique_ptr<NameLock>> Adopt(const std::string& base, UniqueFd fd);

  // The descriptor of the lock file, borrowed; -1: it is not ours any more.
  int fd() const;
  // Has the lock file name this process, which removes it at the end: after Adopt() and Abandon().
  absl::Status Own();
  // The name is another process's, which the lock was handed over to or by: nothing is removed when this goes.
  void Abandon() { abandoned_ = true; }

  // The last holder removes the lock file, unless that names another process; not in a forked child.
  ~NameLock();
  NameLock(const NameLock&) = delete;
  NameLock& operator=(const NameLock&) = delete;

 private:
  explicit NameLock(std::string base) : base_(std::move(base)) {}
  const std::string base_;
  bool abandoned_ = false;  // by one thread at a time
};

// Removes from `directory` the files of names whose owner is dead, and what the dead left in the kernel, and nothing
// else. Quiet about what it may not touch.
void SweepDirectory(const std::string& directory);

// The names in `directory` ("/run/ipcrpc/monitor") whose owner is dead.
std::vector<std::string> NamesOfTheDead(const std::string& directory);

// What a sweep would remove.
struct LeftOver {
  // "lock", "sock", "shm", "fifo", "mqueue", "sysvmq", "netlink", "snap"; "memory" that a file names; "pair" of queues for
  // one client.
  std::string_view kind;
  std::string name;       // its path, with the queue that it stands for
  pid_t pid = 0;          // of the server that made it; 0: unknown
  std::string why;        // it is dead
};
std::vector<LeftOver> FindLeftOvers(const std::string& directory);

// Who is behind a file that is a unix socket.
struct SocketOwner {
  bool listening = false;
  pid_t pid = 0;  // 0: unknown
};
SocketOwner ProbeSocket(const std::string& path);

// "pid 12 (monitord)", for messages.
std::string DescribeProcess(pid_t pid);

}  // namespace ipcrpc
