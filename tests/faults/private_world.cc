#include "tests/faults/private_world.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace faults {
namespace {

constexpr char kSharedMemory[] = "/dev/shm";

// On the private /dev/shm too, so that no other place is needed: what a test leaves there is found by looking for
// what is not one of these.
constexpr char kRuntime[] = "/dev/shm/.runtime";
constexpr char kQueues[] = "/dev/shm/.queues";

std::string Error(const std::string& what) { return what + ": " + strerror(errno); }

bool Write(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  const bool written = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) close(fd);
  return written;
}

std::string EnterUserNamespace() {
  const std::string uid = std::to_string(getuid()), gid = std::to_string(getgid());
  if (unshare(CLONE_NEWUSER) != 0) return Error("no user namespace (this test needs one, or root)");
  if (!Write("/proc/self/uid_map", "0 " + uid + " 1") || !Write("/proc/self/setgroups", "deny") ||
      !Write("/proc/self/gid_map", "0 " + gid + " 1")) {
    return Error("cannot map the user namespace");
  }
  return "";
}

void AddEntries(const std::string& directory, const std::string& prefix, std::vector<std::string>& found) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path() != kRuntime && entry.path() != kQueues) found.push_back(prefix + entry.path().filename().string());
  }
}

// /proc/sysvipc/KIND: a heading, then a line each with key and id first.
void AddSystemV(const char* kind, const std::string& name, std::vector<std::string>& found) {
  std::ifstream table(std::string("/proc/sysvipc/") + kind);
  std::string line, key, id;
  std::getline(table, line);
  while (table >> key >> id && std::getline(table, line)) found.push_back("System V " + name + " " + id);
}

}  // namespace

std::string EnterPrivateWorld() {
  if (geteuid() != 0) {
    if (std::string error = EnterUserNamespace(); !error.empty()) return error;
  }
  if (unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0) return Error("no mount and IPC namespaces");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Error("cannot make the mounts private");
  if (mount("tmpfs", kSharedMemory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=256m") != 0) {
    return Error("cannot mount a /dev/shm");
  }
  if (mkdir(kRuntime, 0755) != 0 || mkdir(kQueues, 0755) != 0) return Error("cannot make directories in /dev/shm");
  if (mount("mqueue", kQueues, "mqueue", 0, nullptr) != 0) return Error("cannot mount the queues");
  setenv("IPCRPC_RUNTIME_DIR", kRuntime, 1);
  return "";
}

std::vector<std::string> LeftOvers() {
  std::vector<std::string> found;
  AddEntries(kSharedMemory, "/dev/shm/", found);
  AddEntries(kRuntime, std::string(kRuntime) + "/", found);
  AddEntries(kQueues, "queue /", found);
  AddSystemV("shm", "segment", found);
  AddSystemV("msg", "queue", found);
  AddSystemV("sem", "semaphore", found);
  return found;
}

}  // namespace faults
