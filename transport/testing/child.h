// A process forked off a test. REQUIRES: the test has no other thread when it is made.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace ipcrpc {

class Child {
 public:
  // Runs `body`, whose result is the exit code, and nothing of what this process does at exit. Dies with its
  // parent.
  template <typename Body>
  explicit Child(Body body) : pid_(fork()) {
    if (pid_ < 0) abort();
    if (pid_ > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(body());
  }
  ~Child() {
    if (pid_ > 0) Kill(SIGKILL), Wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void Kill(int signal_number) { kill(pid_, signal_number); }

  // The exit code, or minus the signal that ended it.
  int Wait() {
    int status = 0;
    if (waitpid(std::exchange(pid_, 0), &status, 0) < 0) abort();
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_;
};

}  // namespace ipcrpc
