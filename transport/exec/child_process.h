// A command that runs as our child, with its standard input and output in our hands.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/base/fork_guard.h"

namespace ipcrpc {

// Our ends.
struct StandardPipes {
  UniqueFd input;   // to write what the child reads
  UniqueFd output;  // to read what it writes
};

// No signal handler, and no other child is ever waited for. That a program collects all its children itself (a
// SIGCHLD of SIG_IGN, a wait() for any) costs only the knowledge of how this one ended. One thread at a time.
class ChildProcess {
 public:
  // Runs `/bin/sh -c COMMAND`, with an empty signal mask and the default SIGPIPE. RESOURCE_EXHAUSTED: no process or
  // descriptor to be had.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const std::string& command, StandardPipes* pipes);

  // Does not wait. A child that still runs has a second to end by itself, for which the end of its input is the sign,
  // then it is sent SIGTERM, and four seconds later SIGKILL. A thread that there is only meanwhile sees to that.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
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
