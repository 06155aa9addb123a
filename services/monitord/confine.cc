#include "services/monitord/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>
#include <memory>

#include "absl/strings/str_cat.h"

namespace ipcrpc::monitor {
namespace {

absl::Status DropCapabilities(bool process_events) {
  // The kernel's own interface, as a library for three calls would be one more to install.
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, data) != 0) return absl::ErrnoToStatus(errno, "capget failed");
  const uint32_t kept = process_events ? data[0].permitted & (1u << CAP_NET_ADMIN) : 0;
  data[0] = {kept, kept, 0};
  data[1] = {};
  if (syscall(SYS_capset, &header, data) != 0) return absl::ErrnoToStatus(errno, "cannot drop capabilities");
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL) {
    return absl::ErrnoToStatus(errno, "cannot clear the ambient capabilities");
  }
  return absl::OkStatus();
}

// What may be called whatever the arguments.
constexpr int kCalls[] = {
    // Messages, and what comes from the kernel.
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
    SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(bind), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(poll), SCMP_SYS(ppoll),
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(eventfd2), SCMP_SYS(pipe2),
    SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
    // Files, /proc and /sys.
    SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(getdents64), SCMP_SYS(lseek), SCMP_SYS(pread64), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(fcntl), SCMP_SYS(dup3),
    // Memory.
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(membarrier),
    // Threads, and waiting.
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(getcpu), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    // What it is told of itself and of the machine.
    SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
    SCMP_SYS(getegid), SCMP_SYS(getrusage), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time)};

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM)), &seccomp_release) {
    if (context_ == nullptr) error_ = ENOMEM;
  }
  void Allow(int call) { Add(SCMP_ACT_ALLOW, call, {}); }
  void Allow(int call, std::initializer_list<scmp_arg_cmp> when) { Add(SCMP_ACT_ALLOW, call, when); }
  void Refuse(int call, int error) { Add(SCMP_ACT_ERRNO(static_cast<uint16_t>(error)), call, {}); }
  absl::Status Load() {
    if (error_ == 0) error_ = -seccomp_load(context_.get());
    return error_ == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error_, "cannot install the filter of system calls");
  }

 private:
  void Add(uint32_t action, int call, std::initializer_list<scmp_arg_cmp> when) {
    if (error_ != 0) return;
    const int result = seccomp_rule_add_array(context_.get(), action, call, static_cast<unsigned>(when.size()), when.begin());
    // Some architectures lack some calls.
    if (result != 0 && result != -EDOM) error_ = -result;
  }

  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context_;
  int error_ = 0;
};

scmp_arg_cmp Masked(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}
scmp_arg_cmp Equal(unsigned argument, uint64_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }

absl::Status FilterCalls() {
  Filter filter;
  for (const int call : kCalls) filter.Allow(call);
  // Files for reading alone.
  constexpr uint64_t kWriting = O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
  filter.Allow(SCMP_SYS(open), {Masked(1, kWriting, O_RDONLY)});
  filter.Allow(SCMP_SYS(openat), {Masked(2, kWriting, O_RDONLY)});
  filter.Allow(SCMP_SYS(socket), {Equal(0, AF_NETLINK)});
  // Memory that is no code.
  filter.Allow(SCMP_SYS(mmap), {Masked(2, PROT_EXEC, 0)});
  filter.Allow(SCMP_SYS(mprotect), {Masked(2, PROT_EXEC, 0)});
  // Threads alone. The arguments of clone3 cannot be looked at; without it, clone is used.
  filter.Allow(SCMP_SYS(clone), {Masked(0, CLONE_THREAD, CLONE_THREAD)});
  filter.Refuse(SCMP_SYS(clone3), ENOSYS);
  // abort() and the like.
  filter.Allow(SCMP_SYS(tgkill), {Equal(0, static_cast<uint64_t>(getpid()))});
  filter.Allow(SCMP_SYS(prctl), {Equal(0, PR_SET_NAME)});
  filter.Allow(SCMP_SYS(prctl), {Equal(0, PR_SET_VMA)});  // names of malloc's arenas
  // Limits can be looked at.
  filter.Allow(SCMP_SYS(getrlimit));
  filter.Allow(SCMP_SYS(prlimit64), {Equal(2, 0)});
  return filter.Load();
}

}  // namespace

absl::Status Confine(bool process_events) {
  if (absl::Status status = DropCapabilities(process_events); !status.ok()) return status;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return absl::ErrnoToStatus(errno, "cannot set no_new_privs");
  return FilterCalls();
}

}  // namespace ipcrpc::monitor
