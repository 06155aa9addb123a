// A child process in namespaces of its own, where the faults that a machine can have are made by the kernel and not by us.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "transport/testing/child.h"
#include "transport/testing/refuse_system_call.h"

namespace ipcrpc {

inline bool WriteFile(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return written;
}

// Moves this process into new namespaces (CLONE_NEWNS, CLONE_NEWIPC, …), in a user namespace of its own when not root.
// With CLONE_NEWNS what it mounts is seen by nobody else.
inline bool EnterNamespaces(int namespaces) {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(namespaces | (uid == 0 ? 0 : CLONE_NEWUSER)) != 0) return false;
  if (uid != 0 && !(WriteFile("/proc/self/setgroups", "deny") && WriteFile("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1") &&
                    WriteFile("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1"))) {
    return false;
  }
  return (namespaces & CLONE_NEWNS) == 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

// The exit code of a child whose namespaces the machine does not let it have.
inline constexpr int kNoNamespaces = 77;

// Runs `body`, which uses EXPECT_ and returns nothing, in a child in these namespaces. 0: it was right.
template <typename Body>
int RunInNamespaces(int namespaces, Body body) {
  const auto run = [&body] {
    body();
    return ::testing::Test::HasFailure() ? 1 : 0;
  };
  return Child([&] {
           if (!EnterNamespaces(namespaces)) return kNoNamespaces;
           // Only a child of it is in a new PID or time namespace.
           return (namespaces & CLONE_NEWPID) != 0 ? Child(run).Wait() : run();
         })
      .Wait();
}

#define EXPECT_RIGHT_IN_NAMESPACES(namespaces, ...)                                            \
  do {                                                                                         \
    const int result_ = ::ipcrpc::RunInNamespaces(namespaces, __VA_ARGS__);                    \
    if (result_ == ::ipcrpc::kNoNamespaces) GTEST_SKIP() << "namespaces are not allowed here"; \
    EXPECT_EQ(result_, 0);                                                                     \
  } while (false)

}  // namespace ipcrpc
