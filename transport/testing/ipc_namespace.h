// An IPC and mount namespace of the test's own, in which it may count what queues there are.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace ipcrpc {

// Enters new ones, for good, with the mqueue file system at `mount_point`. False: not allowed. REQUIRES: one thread.
inline bool EnterIpcNamespace(const std::string& mount_point) {
  return geteuid() == 0 && unshare(CLONE_NEWIPC | CLONE_NEWNS) == 0 &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("mqueue", mount_point.c_str(), "mqueue", 0, nullptr) == 0;
}

inline std::vector<std::string> PosixQueues(const std::string& mount_point) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(mount_point)) names.push_back(entry.path().filename());
  return names;
}

inline int SystemVQueues() {
  std::ifstream in("/proc/sysvipc/msg");
  int lines = 0;
  for (std::string line; std::getline(in, line);) ++lines;
  return lines - 1;  // the heading
}

}  // namespace ipcrpc
