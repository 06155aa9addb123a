#include "tests/monitor/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

namespace ipcrpc::e2e {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

void CloseFd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

int Code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// In the child of fork().
[[noreturn]] void Become(std::vector<char*>& arguments, int in, int out, int err) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_DFL);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  execvp(arguments[0], arguments.data());
  std::perror(arguments[0]);
  _exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments) {
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  int pipes[3][2];
  for (auto& ends : pipes) {
    if (pipe2(ends, O_CLOEXEC) != 0) Die("pipe2");
  }
  pid_ = fork();
  if (pid_ < 0) Die("fork");
  if (pid_ == 0) Become(pointers, pipes[0][0], pipes[1][1], pipes[2][1]);
  in_ = pipes[0][1];
  outputs_[kOut] = pipes[1][0];
  outputs_[kErr] = pipes[2][0];
  close(pipes[0][0]);
  close(pipes[1][1]);
  close(pipes[2][1]);
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (pidfd_ < 0) Die("pidfd_open");
}

Process::~Process() {
  if (!exit_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  for (int* fd : {&in_, &outputs_[0], &outputs_[1], &pidfd_}) CloseFd(*fd);
}

bool Process::Take(Stream stream) {
  char bytes[65536];
  const ssize_t size = read(outputs_[stream], bytes, sizeof bytes);
  if (size <= 0) {
    CloseFd(outputs_[stream]);
    return false;
  }
  buffers_[stream].append(bytes, static_cast<size_t>(size));
  return true;
}

bool Process::Pump(steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
  pollfd fds[] = {{outputs_[kOut], POLLIN, 0}, {outputs_[kErr], POLLIN, 0}, {exit_ ? -1 : pidfd_, POLLIN, 0}};
  if (poll(fds, std::size(fds), static_cast<int>(std::max<int64_t>(left, 0))) <= 0) return false;
  if (fds[0].revents != 0) Take(kOut);
  if (fds[1].revents != 0) Take(kErr);
  if (fds[2].revents != 0) {
    int status = 0;
    if (waitpid(pid_, &status, 0) == pid_) exit_ = Code(status);
  }
  return true;
}

std::optional<std::string> Process::Line(Stream stream, milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  std::string& buffer = buffers_[stream];
  size_t end;
  while ((end = buffer.find('\n')) == std::string::npos) {
    if (outputs_[stream] < 0 || !Pump(deadline)) return std::nullopt;
  }
  std::string line = buffer.substr(0, end);
  buffer.erase(0, end + 1);
  return line;
}

std::optional<std::string> Process::LineWith(Stream stream, const std::string& text, milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  for (;;) {
    auto line = Line(stream, std::chrono::ceil<milliseconds>(deadline - steady_clock::now()));
    if (!line || line->find(text) != std::string::npos) return line;
  }
}

void Process::Tell(const std::string& line) {
  const std::string text = line + "\n";
  signal(SIGPIPE, SIG_IGN);  // whoever has ended shows by what it says
  if (write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size()) && errno != EPIPE)
    Die("write");
}

void Process::CloseInput() { CloseFd(in_); }

void Process::Signal(int signal) const { kill(pid_, signal); }

std::optional<int> Process::Wait(milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  while (!exit_ && Pump(deadline)) continue;
  // What it had printed before.
  while (exit_ && (outputs_[kOut] >= 0 || outputs_[kErr] >= 0) && Pump(deadline)) continue;
  return exit_;
}

Outcome RunProgram(const std::vector<std::string>& arguments, milliseconds timeout) {
  Process process(arguments);
  process.CloseInput();
  Outcome outcome;
  outcome.code = process.Wait(timeout).value_or(-1);
  outcome.out = process.rest(Process::kOut);
  outcome.err = process.rest(Process::kErr);
  return outcome;
}

std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<char> StatesOf(pid_t pid) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  std::set<char> states;
  for (const std::string& task : NamesIn(tasks)) {
    const std::string stat = TextOf(tasks + task + "/stat");
    const size_t name_end = stat.rfind(')');
    if (name_end != std::string::npos && name_end + 2 < stat.size()) states.insert(stat[name_end + 2]);
  }
  return states;
}

std::map<std::string, int> ThreadsOf(pid_t pid) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  std::map<std::string, int> threads;
  for (const std::string& task : NamesIn(tasks)) {
    std::string name = TextOf(tasks + task + "/comm");
    if (name.empty()) continue;  // gone meanwhile
    name.pop_back();
    ++threads[name];
  }
  return threads;
}

int DescriptorsOf(pid_t pid) {
  return static_cast<int>(NamesIn("/proc/" + std::to_string(pid) + "/fd").size());
}

int SettledDescriptorsOf(pid_t pid) {
  for (int before = -1;;) {
    const int now = DescriptorsOf(pid);
    if (now == before) return now;
    before = now;
    std::this_thread::sleep_for(milliseconds(100));
  }
}

std::vector<pid_t> ChildrenOf(pid_t pid) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  std::vector<pid_t> children;
  for (const std::string& task : NamesIn(tasks)) {
    std::istringstream text(TextOf(tasks + task + "/children"));
    for (pid_t child; text >> child;) children.push_back(child);
  }
  return children;
}

std::chrono::nanoseconds CpuOf(pid_t pid) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  int64_t sum = 0;
  for (const std::string& task : NamesIn(tasks))
    sum += std::atoll(TextOf(tasks + task + "/schedstat").c_str());
  return std::chrono::nanoseconds(sum);
}

std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace ipcrpc::e2e
