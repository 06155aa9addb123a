#include "transport/base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>

#include "transport/base/fd.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

struct ProcessStat {
  char state = 0;
  uint64_t threads = 0;
  uint64_t start_time = 0;
};

std::optional<ProcessStat> ReadStat(pid_t pid) {
  UniqueFd fd(open(Cat("/proc/", pid, "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  char buffer[1024];
  const ssize_t n = read(fd.get(), buffer, sizeof buffer);
  if (n <= 0) return std::nullopt;
  // The command, in parentheses, may hold anything: count from its end, which is field 2.
  std::string_view rest(buffer, static_cast<size_t>(n));
  const size_t close = rest.rfind(')');
  if (close == rest.npos || close + 2 > rest.size()) return std::nullopt;
  rest.remove_prefix(close + 2);

  constexpr size_t kFirst = 3, kThreads = 20, kStartTime = 22;
  std::array<std::string_view, kStartTime + 1> fields;
  for (size_t field = kFirst; field <= kStartTime; ++field) {
    const size_t space = rest.find(' ');
    if (space == rest.npos) return std::nullopt;
    fields[field] = rest.substr(0, space);
    rest.remove_prefix(space + 1);
  }
  if (fields[kFirst].empty()) return std::nullopt;
  return ProcessStat{.state = fields[kFirst][0],
                     .threads = ParseNumber<uint64_t>(fields[kThreads]).value_or(0),
                     .start_time = ParseNumber<uint64_t>(fields[kStartTime]).value_or(0)};
}

// Of a line "Uid:\t<real>\t<effective>\t<saved>\t<of the file system>".
std::optional<uint32_t> OneId(std::string_view status, std::string_view key) {
  const size_t start = status.find(key);
  if (start == status.npos) return std::nullopt;
  std::string_view rest = status.substr(start + key.size());
  std::optional<uint32_t> id;
  for (int i = 0; i < 3; ++i) {
    const size_t tab = rest.find('\t');
    if (tab == rest.npos) return std::nullopt;
    const std::optional<uint32_t> next = ParseNumber<uint32_t>(rest.substr(0, tab));
    if (!next.has_value() || (i != 0 && next != id)) return std::nullopt;
    id = next;
    rest.remove_prefix(tab + 1);
  }
  return id;
}

}  // namespace

ProcessOwner OwnerOfProcess(pid_t pid) {
  const UniqueFd fd(open(Cat("/proc/", pid, "/status").c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[1024];  // both lines come early, and the name in the first is escaped
  const ssize_t n = fd.valid() ? read(fd.get(), buffer, sizeof buffer) : -1;
  if (n <= 0) return {};
  const std::string_view status(buffer, static_cast<size_t>(n));
  return {.uid = OneId(status, "\nUid:\t"), .gid = OneId(status, "\nGid:\t")};
}

uint64_t ProcessStartTime(pid_t pid) {
  const std::optional<ProcessStat> stat = ReadStat(pid);
  return stat ? stat->start_time : 0;
}

bool ProcessAlive(pid_t pid, uint64_t start_time) {
  if (pid <= 0) return false;
  const std::optional<ProcessStat> stat = ReadStat(pid);
  if (!stat || stat->start_time == 0) return kill(pid, 0) == 0 || errno == EPERM;
  // A process whose first thread ended while others run is a zombie with several threads.
  const bool ended = (stat->state == 'Z' || stat->state == 'X') && stat->threads <= 1;
  return !ended && (start_time == 0 || start_time == stat->start_time);
}

uint64_t PidNamespace() {
  struct stat info;
  return stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

}  // namespace ipcrpc
