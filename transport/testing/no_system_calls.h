// From a certain point on, system calls are death.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>

// Sanitizers make system calls of their own.
#if defined(IPCRPC_TSAN) || defined(__SANITIZE_ADDRESS__)
#define IPCRPC_CAN_FORBID_SYSTEM_CALLS 0
#else
#define IPCRPC_CAN_FORBID_SYSTEM_CALLS 1
#endif

namespace ipcrpc {

// Kills this process with SIGSYS at any system call but read, write and exiting. (Not the strict mode of
// seccomp, which takes away the clock of the vDSO, too.)
inline void ForbidSystemCalls() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = sizeof program / sizeof program[0], .filter = program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
    abort();
}

}  // namespace ipcrpc
