#include "transport/exec/child_process.h"

#include <poll.h>
#include <signal.h>
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
  return Cat("exited with code ", info.si_status);
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

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(const Program& program) {
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(program));
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid, OpenPidfd(pid)));
}

ChildProcess::~ChildProcess() {
  if (!fork_guard_.ours() || !end_.empty() || !AwaitEnd(0).empty()) return;
  Orphans::Own().Add(pid_, std::move(pidfd_));
}

void ChildProcess::Signal(int signal) {
  if (AwaitEnd(0).empty()) kill(pid_, signal);
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
