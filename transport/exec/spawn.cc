#include "transport/exec/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "transport/base/features.h"
#include "transport/base/fd.h"
#include "transport/base/strings.h"

extern char** environ;

namespace ipcrpc {
namespace {

// All that the child needs between vfork() and its exec, where it has the memory of a process whose other threads go on: nothing
// may be allocated there, no lock taken.
struct Plan {
  char* const* argv;
  char* const* environment;
  const int* descriptors;
  int descriptor_count;
  bool ours_alone;
  bool close_range;  // may be used
  pid_t parent;
  int report;  // takes an errno; close-on-exec
};

[[noreturn]] void Fail(const Plan& plan) {
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(plan.report, &error, sizeof error);
  _exit(127);
}

// By the kernel's own call: what stands before that (a sanitizer's wrapper) keeps books in memory that is the parent's.
void DefaultSignal(int signal) {
  alignas(8) static constexpr char kDefault[64] = {};  // of every architecture: SIG_DFL and no flags are zeros
  syscall(SYS_rt_sigaction, signal, kDefault, nullptr, size_t{_NSIG / 8});
}

void CloseAtExec(int fd) { fcntl(fd, F_SETFD, FD_CLOEXEC); }

// The second way: what /proc lists, or else as many as there may be, within reason.
void CloseAtExecOneByOne(int from) {
  const int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (list < 0) {
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    const int end = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 65'536));
    for (int fd = from; fd < end; ++fd) CloseAtExec(fd);
    return;
  }
  // As getdents64(2) says: inode and offset of 8 bytes each, 2 of length, 1 of type, the name.
  constexpr size_t kLength = 16, kName = 19;
  alignas(8) char entries[2048];
  while (true) {
    const long got = syscall(SYS_getdents64, list, entries, sizeof entries);
    if (got <= 0) return;
    for (long at = 0; at < got;) {
      uint16_t length;
      memcpy(&length, entries + at + kLength, sizeof length);
      int fd = 0;
      const char* digit = entries + at + kName;
      for (; *digit >= '0' && *digit <= '9'; ++digit) fd = fd * 10 + (*digit - '0');
      if (*digit == '\0' && fd >= from) CloseAtExec(fd);
      at += length;
    }
  }
}

void TakeDescriptors(const Plan& plan) {
  for (int number = 0; number < plan.descriptor_count; ++number) {
    const int from = plan.descriptors[number];
    if (from != number) {
      if (dup2(from, number) < 0) Fail(plan);
      continue;
    }
    const int flags = fcntl(number, F_GETFD);
    if (flags >= 0) {
      fcntl(number, F_SETFD, flags & ~FD_CLOEXEC);
    } else if (open("/dev/null", O_RDWR) != number) {
      Fail(plan);
    }
  }
  if (!plan.ours_alone) return;
#ifdef SYS_close_range
  constexpr unsigned kCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC, since 5.11
  if (plan.close_range && syscall(SYS_close_range, static_cast<unsigned>(plan.descriptor_count), ~0u, kCloseOnExec) == 0) return;
#endif
  CloseAtExecOneByOne(plan.descriptor_count);
}

// No handler of ours may run in the child. What we ignore, as after nohup, a program that is not ours alone ignores, too.
void ResetSignals(bool all) {
  for (int signal = 1; signal < _NSIG; ++signal) {
    struct sigaction now = {};
    const bool ignored = sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
    if (all || !ignored || signal == SIGPIPE) DefaultSignal(signal);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void RunChild(const Plan& plan) {
  ResetSignals(plan.ours_alone);
  if (plan.ours_alone) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != plan.parent) _exit(127);  // it was gone before we had asked
  }
  TakeDescriptors(plan);
  execve(plan.argv[0], plan.argv, plan.environment);
  Fail(plan);
}

// A function of its own, whose frame both processes may use.
[[gnu::noinline]] pid_t Fork(const Plan& plan) {
  const pid_t pid = vfork();
  if (pid == 0) RunChild(plan);
  return pid;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& string : strings) pointers.push_back(const_cast<char*>(string.c_str()));
  return pointers;
}

std::vector<char*> Environment(const std::vector<std::string>& changes) {
  const auto name_of = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
  std::vector<char*> all;
  for (const std::string& change : changes) {
    if (change.find('=') != std::string::npos) all.push_back(const_cast<char*>(change.c_str()));
  }
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const auto replaces = [&](const std::string& change) { return name_of(change) == name_of(*entry); };
    if (std::none_of(changes.begin(), changes.end(), replaces)) all.push_back(*entry);
  }
  return all;
}

absl::Status CannotRun(const Program& program, int error) {
  const std::string what = Cat("cannot run '", program.argv[0], "': ", strerror(error));
  const bool exhausted = error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
  return exhausted ? absl::ResourceExhaustedError(what) : absl::UnavailableError(what);
}

}  // namespace

absl::StatusOr<pid_t> Spawn(const Program& program) {
  if (program.argv.empty()) return absl::InvalidArgumentError("no program to run");
  std::vector<char*> argv = Pointers(program.argv), environment = Environment(program.environment);
  argv.push_back(nullptr);
  environment.push_back(nullptr);
  // Not among the numbers that the child overwrites.
  const int count = static_cast<int>(program.descriptors.size());
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return CannotRun(program, errno);
  UniqueFd read_end(ends[0]), low_end(ends[1]);
  UniqueFd report(fcntl(low_end.get(), F_DUPFD_CLOEXEC, count));
  low_end.reset();
  if (!report.valid()) return CannotRun(program, errno);
  const Plan plan = {.argv = argv.data(),
                     .environment = environment.data(),
                     .descriptors = program.descriptors.data(),
                     .descriptor_count = count,
                     .ours_alone = program.ours_alone,
                     .close_range = FeatureAllowed("close_range"),
                     .parent = getpid(),
                     .report = report.get()};
  // A handler of ours must not run in the child, with the memory of this process.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = Fork(plan);
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return CannotRun(program, fork_error);
  report.reset();
  // The end, once the program is loaded.
  int error = 0;
  ssize_t got;
  do {
    got = read(read_end.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == 0) return pid;
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return CannotRun(program, error);
}

}  // namespace ipcrpc
