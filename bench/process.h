// Processes of a measurement: pinned to one processor or free, dead when this program is, always reaped.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace ipcrpc::bench {

// Says on stderr what went wrong, and ends this process.
[[noreturn]] void Fail(const std::string& what);

// From now on SIGINT and SIGTERM end every Process::Wait(), so that the caller can clean up; true once one came.
void CatchInterrupts();
bool Interrupted();

// Belongs to the thread that started it; this program has one.
class Process {
 public:
  static constexpr int kAnyCpu = -1;
  // Runs `body` in a new process on `cpu`; when it returns the process exits with 0.
  Process(int cpu, const std::function<void()>& body);
  ~Process();  // kills if need be, and reaps
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }

  // Waits for its end; false (and it is killed) when that takes longer than `timeout_s`, when it fails, or when
  // this program is interrupted.
  bool Wait(double timeout_s);
  // Asks it to end by SIGTERM and waits; how it ends does not matter.
  void Terminate();

 private:
  bool AwaitExit(double timeout_s);
  void Reap(int* status);

  pid_t pid_;
  int pidfd_;
};

// Memory that child processes share, zeroed. Its descriptor can be left to a program that is executed.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes);
  // In that program.
  SharedMemory(int fd, size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  template <typename T>
  T* As() const {
    return static_cast<T*>(memory_);
  }
  int fd() const { return fd_; }

 private:
  const size_t bytes_;
  const int fd_;
  void* memory_;
};

// How a server tells that it can be called.
class ReadySignal {
 public:
  ReadySignal();
  // In a program to which the writing end was left.
  explicit ReadySignal(int write_fd) : fds_{-1, write_fd} {}
  ~ReadySignal();
  ReadySignal(const ReadySignal&) = delete;
  ReadySignal& operator=(const ReadySignal&) = delete;

  int write_fd() const { return fds_[1]; }
  void Tell() const;
  // By the parent, after the fork: false when the server ended without a word.
  bool Await();

 private:
  int fds_[2];
};

}  // namespace ipcrpc::bench
