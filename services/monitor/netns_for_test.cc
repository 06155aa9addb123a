#include "services/monitor/netns_for_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace ipcrpc::monitor {
namespace {

std::string error_text = "EnterOwnNamespaces was not called";
bool started_as_root = false;

bool WriteFile(const char* path, const std::string& text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool ok = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return ok;
}

std::string Enter() {
  uid_t uid = getuid();
  gid_t gid = getgid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0) {
    return absl::StrCat("no namespaces for this test: unshare: ", strerror(errno));
  }
  if (!WriteFile("/proc/self/setgroups", "deny") || !WriteFile("/proc/self/uid_map", absl::StrCat("0 ", uid, " 1")) ||
      !WriteFile("/proc/self/gid_map", absl::StrCat("0 ", gid, " 1"))) {
    return absl::StrCat("no namespaces for this test: cannot map ids: ", strerror(errno));
  }
  return "";
}

}  // namespace

std::string EnterOwnNamespaces() {
  started_as_root = getuid() == 0;
  error_text = Enter();
  return error_text;
}

const std::string& NamespaceError() { return error_text; }

bool StartedAsRoot() { return started_as_root; }

std::string RunShell(const std::string& command, int* status) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "re");
  if (pipe == nullptr) {
    *status = -1;
    return output;
  }
  char buffer[4096];
  while (size_t size = fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, size);
  *status = pclose(pipe);
  return output;
}

OtherNetns::OtherNetns() {
  int ready[2], release[2];
  if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(release, O_CLOEXEC) != 0) return;
  pid_t pid = fork();
  if (pid == 0) {
    close(release[1]);
    char done = unshare(CLONE_NEWNET) == 0 ? 'y' : 'n';
    if (write(ready[1], &done, 1) != 1) _exit(1);
    // Ends when the other end is closed, by the destructor or by the test's death.
    char byte;
    while (read(release[0], &byte, 1) < 0 && errno == EINTR) continue;
    _exit(0);
  }
  close(ready[1]);
  close(release[0]);
  release_fd_ = release[1];
  char done = 'n';
  if (pid > 0 && read(ready[0], &done, 1) == 1 && done == 'y') pid_ = pid;
  close(ready[0]);
  if (pid > 0 && pid_ < 0) waitpid(pid, nullptr, 0);
}

OtherNetns::~OtherNetns() {
  if (release_fd_ >= 0) close(release_fd_);
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

}  // namespace ipcrpc::monitor
