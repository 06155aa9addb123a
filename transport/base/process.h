// What /proc tells of a process: whether the one that left something behind still lives, and whose one is.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace ipcrpc {

// When the process was started (field 22 of /proc/PID/stat), which tells it from a later one of the same pid.
// 0 when there is no such process, or /proc does not show it.
uint64_t ProcessStartTime(pid_t pid);

// Whether such a process exists and was started then; `start_time` 0: whenever. One that has ended and that
// its parent has not asked about yet does not count.
bool ProcessAlive(pid_t pid, uint64_t start_time);

// Whose process it is. An id is there only if the real, the effective and the saved one are the same: a set-uid or set-gid program
// acts for who started it.
struct ProcessOwner {
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
};
// Nothing when there is no such process, or /proc does not show it.
ProcessOwner OwnerOfProcess(pid_t pid);

// The PID namespace of this process, in which alone its pids mean anything. 0: unknown.
uint64_t PidNamespace();

}  // namespace ipcrpc
