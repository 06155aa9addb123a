// System calls that the kernel refuses from now on, as a sandbox would have it.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace ipcrpc {

// These calls (SYS_…) end in `action` (SECCOMP_RET_…) in this thread, the threads that it starts and its children, for ever; with
// SECCOMP_FILTER_FLAG_TSYNC in all threads that there are. To be called in a child process, without that flag before it has threads.
inline void FilterSystemCalls(std::initializer_list<long> numbers, uint32_t action, unsigned flags = 0) {
  std::vector<sock_filter> program = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const long number : numbers) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter = {.len = static_cast<unsigned short>(program.size()), .filter = program.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter) != 0) {
    abort();
  }
}

// `number` fails with `error`.
inline void RefuseSystemCall(long number, int error) {
  FilterSystemCalls({number}, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error));
}

// The process dies (SIGSYS) where it makes the call.
inline void DieAtSystemCall(long number) { FilterSystemCalls({number}, SECCOMP_RET_KILL_PROCESS); }

}  // namespace ipcrpc
