// Processes of a test that has no thread of its own: children that are forked off it, and echo servers among them.
#pragma once

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/ipcrpc.h"
#include "tests/behaviour/behaviour.ipcrpc.pb.h"

namespace faults {

// Runs `body` and exits with its result; dies with its parent.
class Child {
 public:
  template <typename Body>
  explicit Child(Body body) {
    fflush(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(body());
  }
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const { kill(pid_, signal); }
  void Kill();
  // The exit code, or 128 + the signal that ended it.
  int Wait();

 private:
  pid_t pid_;
};

// Echoes unary calls and streams at all of these addresses, in a child, until it goes.
class RunningServer {
 public:
  explicit RunningServer(std::vector<std::string> addresses);
  bool started() const { return started_; }
  pid_t pid() const { return child_->pid(); }
  void Kill() { child_->Kill(); }
  // By SIGTERM: its exit code, 0 when all went well.
  int Stop();

 private:
  std::unique_ptr<Child> child_;
  bool started_ = false;
};

}  // namespace faults
