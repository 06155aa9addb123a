// A program that runs as our child.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/base/fork_guard.h"
#include "transport/exec/spawn.h"

namespace ipcrpc {

// No signal handler, and no other child is ever waited for. That a program collects all its children itself (a
// SIGCHLD of SIG_IGN, a wait() for any) costs only the knowledge of how this one ended. One thread at a time.
class ChildProcess {
 public:
  // As Spawn().
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const Program& program);

  // Does not wait. A child that still runs has a second to end by itself, for which the end of its stream is the sign,
  // then it is sent SIGTERM, and four seconds later SIGKILL. A thread that there is only meanwhile sees to that.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Readable once it has ended; -1 where the kernel has none, and AwaitEnd() is to be asked now and then.
  int pidfd() const { return pidfd_.get(); }
  // Unless it is known to have ended.
  void Signal(int signal);
  // "exited with code 3", "was ended by signal 9 (Killed)"; "" when it still runs at the deadline.
  std::string AwaitEnd(int64_t deadline_ns);

 private:
  ChildProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  const ForkGuard fork_guard_;
  const pid_t pid_;
  UniqueFd pidfd_;   // none: it is asked for now and then
  std::string end_;  // "": not seen yet
};

}  // namespace ipcrpc
