// Whether the process that left something behind still lives.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace ipcrpc {

// When the process was started (field 22 of /proc/PID/stat), which tells it from a later one of the same pid.
// 0 when there is no such process, or /proc does not show it.
uint64_t ProcessStartTime(pid_t pid);

// Whether such a process exists and was started then; `start_time` 0: whenever. One that has ended and that
// its parent has not asked about yet does not count.
bool ProcessAlive(pid_t pid, uint64_t start_time);

// The PID namespace of this process, in which alone its pids mean anything. 0: unknown.
uint64_t PidNamespace();

}  // namespace ipcrpc
