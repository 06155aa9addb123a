#include "bench/syscalls.h"

#include <linux/perf_event.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "bench/process.h"
#include "bench/scratch_directory.h"

namespace ipcrpc::bench {
namespace {

constexpr char kTracepoint[] = "events/raw_syscalls/sys_enter/id";

uint64_t ReadNumber(const std::string& path) {
  uint64_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

// Where tracefs is not mounted: in a process and a mount namespace of their own, so that it isn't afterwards either.
uint64_t ReadFromPrivateTracefs() {
  const ScratchDirectory directory;
  const SharedMemory number(sizeof(uint64_t));
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        mount("tracefs", directory.path().c_str(), "tracefs", 0, nullptr) == 0) {
      *number.As<uint64_t>() = ReadNumber(directory.path() + "/" + kTracepoint);
    }
    _exit(0);
  }
  if (child > 0) waitpid(child, nullptr, 0);
  return *number.As<uint64_t>();
}

uint64_t TracepointId() {
  const uint64_t id = ReadNumber(std::string("/sys/kernel/tracing/") + kTracepoint);
  return id != 0 || geteuid() != 0 ? id : ReadFromPrivateTracefs();
}

}  // namespace

std::vector<int> OpenSyscallCounters(pid_t pid) {
  std::vector<int> counters;
  perf_event_attr event = {};
  event.type = PERF_TYPE_TRACEPOINT;
  event.size = sizeof(event);
  event.config = TracepointId();
  event.inherit = 1;
  if (event.config == 0) return counters;
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", error)) {
    const auto id = static_cast<pid_t>(std::stol(thread.path().filename()));
    const int counter = static_cast<int>(syscall(SYS_perf_event_open, &event, id, /*cpu=*/-1, /*group=*/-1, PERF_FLAG_FD_CLOEXEC));
    if (counter >= 0) counters.push_back(counter);
  }
  return counters;
}

}  // namespace ipcrpc::bench
