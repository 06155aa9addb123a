// System calls of a process, counted by the kernel (a tracepoint; nothing is traced or stopped). Takes root's rights.
#pragma once

#include <sys/types.h>

#include <vector>

namespace ipcrpc::bench {

// A counter for each thread that the process has now, which its later threads join; empty where the kernel refuses.
std::vector<int> OpenSyscallCounters(pid_t pid);

}  // namespace ipcrpc::bench
