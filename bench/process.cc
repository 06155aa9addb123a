#include "bench/process.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ipcrpc::bench {
namespace {

constexpr double kTerminateSeconds = 5;

volatile sig_atomic_t interrupted = 0;

[[noreturn]] void FailErrno(const std::string& what) { Fail(what + ": " + strerror(errno)); }

// In the new process.
[[noreturn]] void RunChild(pid_t parent, int cpu, const std::function<void()>& body) {
  signal(SIGINT, SIG_IGN);  // the parent ends its children in order
  signal(SIGTERM, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu != Process::kAnyCpu) CPU_SET(static_cast<size_t>(cpu), &set);
  if (cpu != Process::kAnyCpu && sched_setaffinity(0, sizeof(set), &set) != 0) FailErrno("cannot run on processor " + std::to_string(cpu));
  body();
  fflush(nullptr);
  _exit(0);
}

}  // namespace

void Fail(const std::string& what) {
  fprintf(stderr, "bench: %s\n", what.c_str());
  fflush(nullptr);
  _exit(1);
}

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);  // who reads the output may go first
}

bool Interrupted() { return interrupted != 0; }

Process::Process(int cpu, const std::function<void()>& body) {
  fflush(nullptr);  // or the child prints it again
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) FailErrno("fork");
  if (pid_ == 0) RunChild(parent, cpu, body);
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (pidfd_ < 0) {
    const int error = errno;
    kill(pid_, SIGKILL);
    Reap(nullptr);
    errno = error;
    FailErrno("pidfd_open");
  }
}

Process::~Process() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    Reap(nullptr);
  }
  if (pidfd_ >= 0) close(pidfd_);
}

void Process::Reap(int* status) {
  while (waitpid(pid_, status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

bool Process::AwaitExit(double timeout_s) {
  pollfd exit = {.fd = pidfd_, .events = POLLIN, .revents = 0};
  return poll(&exit, 1, static_cast<int>(timeout_s * 1000)) == 1;  // an interruption ends it, too
}

bool Process::Wait(double timeout_s) {
  if (!AwaitExit(timeout_s)) {
    kill(pid_, SIGKILL);
    Reap(nullptr);
    return false;
  }
  int status = 0;
  Reap(&status);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void Process::Terminate() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  Wait(kTerminateSeconds);
}

SharedMemory::SharedMemory(size_t bytes) : SharedMemory(memfd_create("ipcrpc-bench", MFD_CLOEXEC), bytes) {}

SharedMemory::SharedMemory(int fd, size_t bytes) : bytes_(bytes), fd_(fd) {
  if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(bytes)) != 0) FailErrno("shared memory");
  memory_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, 0);
  if (memory_ == MAP_FAILED) FailErrno("mapping shared memory");
}

SharedMemory::~SharedMemory() {
  munmap(memory_, bytes_);
  close(fd_);
}

ReadySignal::ReadySignal() {
  if (pipe(fds_) != 0) FailErrno("pipe");
}

ReadySignal::~ReadySignal() {
  if (fds_[0] >= 0) close(fds_[0]);
  if (fds_[1] >= 0) close(fds_[1]);
}

void ReadySignal::Tell() const {
  if (write(fds_[1], "R", 1) != 1) FailErrno("telling that the server is ready");
}

bool ReadySignal::Await() {
  close(fds_[1]);  // so that the server's end is the only one left
  fds_[1] = -1;
  char byte;
  return read(fds_[0], &byte, 1) == 1;
}

}  // namespace ipcrpc::bench
