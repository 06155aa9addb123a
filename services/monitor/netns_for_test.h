#pragma once

#include <sys/types.h>

#include <string>

// For tests that need a network of their own.

namespace ipcrpc::monitor {

// Moves this process into new user, network and mount namespaces, in which it is root. To be called
// while the process has one thread. Empty, or why it could not be done.
std::string EnterOwnNamespaces();

// The outcome of EnterOwnNamespaces, called from main: what a test that needs them does first. Skips the
// test visibly where namespaces are not allowed; as root that is a failure.
#define IPCRPC_NEED_NAMESPACES()                                                              \
  do {                                                                                        \
    if (!ipcrpc::monitor::NamespaceError().empty()) {                                         \
      if (ipcrpc::monitor::StartedAsRoot()) FAIL() << ipcrpc::monitor::NamespaceError();      \
      GTEST_SKIP() << ipcrpc::monitor::NamespaceError();                                      \
    }                                                                                         \
  } while (false)

const std::string& NamespaceError();
bool StartedAsRoot();

// Runs a shell command; its standard output. Sets `status` to how it ended, as waitpid says.
std::string RunShell(const std::string& command, int* status);

// A process that holds another network namespace until it is destroyed.
class OtherNetns {
 public:
  OtherNetns();
  ~OtherNetns();
  OtherNetns(const OtherNetns&) = delete;
  OtherNetns& operator=(const OtherNetns&) = delete;
  // Negative when it could not be made.
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int release_fd_ = -1;
};

}  // namespace ipcrpc::monitor
