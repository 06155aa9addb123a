// Starting another program, from a process that has threads.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ipcrpc {

struct Program {
  std::vector<std::string> argv;         // argv[0] is the path of the file, which is not searched for
  std::vector<std::string> environment = {};  // "NAME=value", beside our own; "NAME": without it
  // What becomes its descriptor 0, 1, 2 and so on. Each is either there already (1 for number 1) or not among these numbers.
  // One that is there and not open in this process is /dev/null there.
  std::vector<int> descriptors = {};
  // A child of our own alone. It has no descriptors but those above, every signal as a fresh process has it, and a process group
  // of its own, so that what the terminal sends does not reach it before we have heard of it. It is killed when the thread
  // that has started it ends, and by that with this process (unless the program is one with more rights than ours).
  bool ours_alone = false;
};

// Runs it, with an empty signal mask and no handler, and with the default SIGPIPE. Blocks until the program has been loaded.
// RESOURCE_EXHAUSTED: no process or descriptor to be had; UNAVAILABLE: the file cannot be executed, and why.
absl::StatusOr<pid_t> Spawn(const Program& program);

}  // namespace ipcrpc
