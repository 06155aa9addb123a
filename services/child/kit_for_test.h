// For tests of children: that none is left, and waiting for what is to happen.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

namespace ipcrpc {

inline constexpr std::chrono::seconds kPatience{20};

template <typename Condition>
bool Eventually(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Not where there is none: kill(0) is for the whole process group.
inline void Kill(pid_t pid) {
  if (pid > 0) kill(pid, SIGKILL);
}

inline bool HasChildren() {
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

// Also when it is another's to collect, and has not been.
inline bool Runs(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.substr(name_end).find(") Z") != 0;
}

class ChildrenTest : public testing::Test {
 protected:
  void TearDown() override { EXPECT_FALSE(HasChildren()) << "a process is left"; }
};

}  // namespace ipcrpc
