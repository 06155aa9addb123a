// Other programs, run by a test: what they print, when, and how they end.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ipcrpc::e2e {

// A running program. Killed, if need be, by the destructor, and with the test. One thread.
class Process {
 public:
  enum Stream { kOut, kErr };

  // `arguments[0]` is looked for in PATH. What cannot be run ends with 127.
  explicit Process(const std::vector<std::string>& arguments);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }

  // The next line that it prints there, without its end. Absent: none came in time, or none will.
  std::optional<std::string> Line(Stream stream,
                                  std::chrono::milliseconds timeout = std::chrono::seconds(10));
  // Lines up to one that has `text` in it, which is returned.
  std::optional<std::string> LineWith(Stream stream, const std::string& text,
                                      std::chrono::milliseconds timeout = std::chrono::seconds(10));
  // What it printed and Line has not given.
  const std::string& rest(Stream stream) const { return buffers_[stream]; }

  void Tell(const std::string& line);
  void CloseInput();
  void Signal(int signal) const;

  // Its exit code, or 128 + the signal that ended it; absent when it lives on.
  std::optional<int> Wait(std::chrono::milliseconds timeout = std::chrono::seconds(10));

 private:
  // Takes in what it prints until something came or it ended; false when the time is over.
  bool Pump(std::chrono::steady_clock::time_point deadline);
  bool Take(Stream stream);

  pid_t pid_ = -1;
  int pidfd_ = -1;
  int in_ = -1;
  int outputs_[2] = {-1, -1};
  std::string buffers_[2];
  std::optional<int> exit_;
};

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};
// Runs it to its end, without input; code -1: it did not end in time.
Outcome RunProgram(const std::vector<std::string>& arguments,
                   std::chrono::milliseconds timeout = std::chrono::seconds(30));

// The state letters of a process's threads ('S': it sleeps, 'T': stopped), without repetition.
std::set<char> StatesOf(pid_t pid);
// How many threads a process has, by name.
std::map<std::string, int> ThreadsOf(pid_t pid);
int DescriptorsOf(pid_t pid);
// Once it is the same for a moment, so that a connection that ends is over.
int SettledDescriptorsOf(pid_t pid);
// The processes that its threads have started and not waited for.
std::vector<pid_t> ChildrenOf(pid_t pid);
// CPU time of all its threads.
std::chrono::nanoseconds CpuOf(pid_t pid);
// The names in a directory, in ascending order.
std::vector<std::string> NamesIn(const std::string& directory);
std::string TextOf(const std::string& path);

}  // namespace ipcrpc::e2e
