#include "transport/exec/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/features.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/runtime/worker_pool.h"

extern char** environ;

namespace ipcrpc {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kUntilTermNs = 1000 * kMs;
constexpr int64_t kUntilKillNs = 4000 * kMs;
// Between two looks at a child without a pidfd.
constexpr int64_t kLookNs = 5 * kMs;

UniqueFd OpenPidfd(pid_t pid) {
#ifdef SYS_pidfd_open
  if (FeatureAllowed("pidfd")) return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
#endif
  return UniqueFd();
}

// How it ended, and collects it; "" when it runs.
std::string Collect(pid_t pid) {
  siginfo_t info = {};
  int result;
  do {
    result = waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return "ended";  // and somebody else has collected it
  if (info.si_pid == 0) return "";
  if (info.si_code != CLD_EXITED) {
    return Cat("was ended by signal ", info.si_status, " (", strsignal(info.si_status), ")");
  }
  std::string_view meaning = "";
  if (info.si_status == 126) meaning = " (it cannot be executed)";
  if (info.si_status == 127) meaning = " (the shell did not find a command)";
  return Cat("exited with code ", info.si_status, meaning);
}

void SleepUntil(int64_t until_ns, pollfd* fds, nfds_t count) {
  const timespec timeout = ToTimespec(std::max<int64_t>(0, until_ns - MonotonicNs()));
  ppoll(fds, count, &timeout, nullptr);
}

// Those whose link has ended before them.
class Orphans {
 public:
  // The process's own; in a forked child another one, without the parent's.
  static Orphans& Own() {
    static std::atomic<Orphans*> own{nullptr};
    Orphans* made = own.load(std::memory_order_acquire);
    while (made == nullptr || !made->fork_guard_.ours()) {
      auto* fresh = new Orphans;
      if (own.compare_exchange_strong(made, fresh)) return *fresh;
      delete fresh;
    }
    return *made;
  }

  void Add(pid_t pid, UniqueFd pidfd) {
    const std::lock_guard lock(mu_);
    all_.push_back({pid, std::move(pidfd), MonotonicNs() + kUntilTermNs, SIGTERM});
    // Without a thread to be had, the next one sees to this one too.
    if (!running_) running_ = StartThread("ipcrpc-reap", 0, &Orphans::Main, this);
  }

 private:
  struct Orphan {
    pid_t pid;
    UniqueFd pidfd;
    int64_t signal_at_ns;
    int signal;
  };

  static void* Main(void* orphans) {
    static_cast<Orphans*>(orphans)->Run();
    return nullptr;
  }

  void Run() {
    std::vector<Orphan> mine;
    while (true) {
      {
        const std::lock_guard lock(mu_);
        for (Orphan& orphan : all_) mine.push_back(std::move(orphan));
        all_.clear();
        std::erase_if(mine, [](const Orphan& orphan) { return !Collect(orphan.pid).empty(); });
        if (mine.empty()) {
          running_ = false;
          return;
        }
      }
      // New ones come in between; they have time.
      const int64_t now = MonotonicNs();
      int64_t until = now + kUntilTermNs / 4;
      std::vector<pollfd> ends;
      for (Orphan& orphan : mine) {
        if (orphan.signal_at_ns <= now) {
          // Ours and not yet collected, so the pid is still its own.
          kill(orphan.pid, std::exchange(orphan.signal, SIGKILL));
          orphan.signal_at_ns = now + kUntilKillNs;
        }
        until = std::min(until, orphan.signal_at_ns);
        if (orphan.pidfd.valid()) {
          ends.push_back({.fd = orphan.pidfd.get(), .events = POLLIN, .revents = 0});
        } else {
          until = std::min(until, now + kLookNs);
        }
      }
      SleepUntil(until, ends.data(), ends.size());
    }
  }

  const ForkGuard fork_guard_;
  std::mutex mu_;
  bool running_ = false;
  std::vector<Orphan> all_;  // that the thread does not have yet
};

// A pipe neither of whose ends is a standard descriptor, which spawning would overwrite.
absl::Status MakePipe(UniqueFd* read, UniqueFd* write) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(Cat("cannot make a pipe: ", strerror(errno)));
  }
  UniqueFd* const to[] = {read, write};
  for (int i = 0; i < 2; ++i) {
    to[i]->reset(ends[i]);
    if (ends[i] > STDERR_FILENO) continue;
    to[i]->reset(fcntl(ends[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  }
  if (!read->valid() || !write->valid()) return absl::ResourceExhaustedError("no file descriptor left for a pipe");
  return absl::OkStatus();
}

int Spawn(const std::string& command, int input, int output, pid_t* pid) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, pipe_signal;
  sigemptyset(&none);
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string shell = "sh", flag = "-c", text = command;
  char* argv[] = {shell.data(), flag.data(), text.data(), nullptr};
  const int error = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(const std::string& command, StandardPipes* pipes) {
  UniqueFd input, output;
  RETURN_IF_ERROR(MakePipe(&input, &pipes->input));
  RETURN_IF_ERROR(MakePipe(&pipes->output, &output));
  pid_t pid = 0;
  if (const int error = Spawn(command, input.get(), output.get(), &pid); error != 0) {
    const std::string what = Cat("cannot run /bin/sh for exec: '", command, "': ", strerror(error));
    return error == EAGAIN || error == ENOMEM ? absl::ResourceExhaustedError(what) : absl::UnavailableError(what);
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid, OpenPidfd(pid)));
}

ChildProcess::~ChildProcess() {
  if (!fork_guard_.ours() || !end_.empty() || !AwaitEnd(0).empty()) return;
  Orphans::Own().Add(pid_, std::move(pidfd_));
}

std::string ChildProcess::AwaitEnd(int64_t deadline_ns) {
  if (end_.empty()) end_ = Collect(pid_);
  while (end_.empty()) {
    const int64_t now = MonotonicNs();
    if (now >= deadline_ns) break;
    pollfd end = {.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
    SleepUntil(pidfd_.valid() ? deadline_ns : std::min(deadline_ns, now + kMs), &end, 1);
    end_ = Collect(pid_);
  }
  return end_;
}

}  // namespace ipcrpc
