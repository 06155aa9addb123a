// Temperatures, a cgroup, processes.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "services/monitor/parse_proc.h"
#include "services/monitor/parse_process.h"
#include "services/monitor/system_reader.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {
namespace {

std::string Stripped(const std::string& text) { return ValidUtf8(std::string(absl::StripAsciiWhitespace(text))); }

// sysfs has thousandths.
std::optional<double> Celsius(const std::string& text) {
  int thousandths;
  if (!absl::SimpleAtoi(text, &thousandths)) return std::nullopt;
  return thousandths / 1000.0;
}

// Limits of version 1 that are none.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

}  // namespace

std::vector<std::string> SystemReader::Names(const std::string& path) const {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir((root_ + path).c_str()), &closedir);
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void SystemReader::ReadTemperatures(v1::StatusReply* out) const {
  std::set<std::string> sources;
  const std::string chips = "/sys/class/hwmon/";
  for (const std::string& chip : Names(chips)) {
    const std::string source = Stripped(File(chips + chip + "/name"));
    for (const std::string& name : Names(chips + chip)) {
      if (!name.starts_with("temp") || !name.ends_with("_input")) continue;
      const std::string sensor = absl::StrCat(chips, chip, "/", name.substr(0, name.find('_')));
      const auto celsius = Celsius(File(sensor + "_input"));
      if (!celsius) continue;  // a sensor that does not answer
      v1::Temperature* temperature = out->add_temperatures();
      sources.insert(source);
      temperature->set_source(source);
      temperature->set_label(Stripped(File(sensor + "_label")));
      temperature->set_celsius(*celsius);
      if (auto max = Celsius(File(sensor + "_max"))) temperature->set_max_celsius(*max);
      if (auto critical = Celsius(File(sensor + "_crit"))) temperature->set_critical_celsius(*critical);
    }
  }
  const std::string zones = "/sys/class/thermal/";
  for (const std::string& zone : Names(zones)) {
    if (!zone.starts_with("thermal_zone")) continue;
    const std::string source = Stripped(File(zones + zone + "/type"));
    const auto celsius = Celsius(File(zones + zone + "/temp"));
    if (!celsius || sources.count(source) != 0) continue;
    v1::Temperature* temperature = out->add_temperatures();
    temperature->set_source(source);
    temperature->set_celsius(*celsius);
  }
}

absl::Status SystemReader::ReadCgroup(const std::string& path, v1::Cgroup* out) const {
  // Nobody is to read other files through us.
  if (path[0] != '/' || absl::StrCat(path, "/").find("/../") != std::string::npos || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cgroup '", ValidUtf8(path), "': expected a path from the root of the hierarchy, such as /system.slice/cron.service"));
  }
  struct Number {
    const char* file;
    void (v1::Cgroup::*set)(uint64_t);
  };
  static constexpr Number kNumbers[] = {
      {"memory.current", &v1::Cgroup::set_memory_bytes},   {"memory.max", &v1::Cgroup::set_memory_max_bytes},
      {"memory.peak", &v1::Cgroup::set_memory_peak_bytes}, {"memory.swap.current", &v1::Cgroup::set_swap_bytes},
      {"pids.current", &v1::Cgroup::set_tasks},            {"pids.max", &v1::Cgroup::set_tasks_max},
      // Version 1.
      {"memory.usage_in_bytes", &v1::Cgroup::set_memory_bytes},
      {"memory.limit_in_bytes", &v1::Cgroup::set_memory_max_bytes},
      {"memory.max_usage_in_bytes", &v1::Cgroup::set_memory_peak_bytes},
  };
  bool found = false;
  // One tree, or one for each controller; both beside each other where a system is between the versions.
  for (const char* tree : {"", "/unified", "/memory", "/cpuacct", "/pids"}) {
    const std::string directory = absl::StrCat("/sys/fs/cgroup", tree, path, "/");
    if (access((root_ + directory + "cgroup.procs").c_str(), F_OK) != 0) continue;
    found = true;
    for (const Number& number : kNumbers) {
      uint64_t value;
      if (!ParseNumber(File(directory + number.file), &value) || value >= kNoLimit) continue;
      auto set = number.set;
      (out->*set)(value);
    }
    ParseCgroupCpu(File(directory + "cpu.stat"), out);
    ParseCgroupMemoryEvents(File(directory + "memory.events"), out);
    ParseCgroupIo(File(directory + "io.stat"), out);
    uint64_t ns;
    if (ParseNumber(File(directory + "cpuacct.usage"), &ns)) out->set_cpu_usage_us(ns / 1000);
    v1::PressureResource pressure;
    if (ParsePressure(File(directory + "cpu.pressure"), &pressure)) *out->mutable_pressure()->mutable_cpu() = pressure;
    pressure.Clear();
    if (ParsePressure(File(directory + "io.pressure"), &pressure)) *out->mutable_pressure()->mutable_io() = pressure;
    pressure.Clear();
    if (ParsePressure(File(directory + "memory.pressure"), &pressure)) {
      *out->mutable_pressure()->mutable_memory() = pressure;
    }
  }
  if (!found) return absl::NotFoundError(absl::StrCat("there is no cgroup '", ValidUtf8(path), "' in /sys/fs/cgroup"));
  out->set_path(ValidUtf8(path));
  return absl::OkStatus();
}

std::vector<v1::Process> SystemReader::ReadProcesses() const {
  const long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
  std::vector<v1::Process> processes;
  for (const std::string& name : Names("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    v1::Process process;
    // It may end at any moment.
    struct stat status;
    if (!ParseProcess(File("/proc/" + name + "/stat"), ticks, page, &process)) continue;
    if (stat((root_ + "/proc/" + name).c_str(), &status) == 0) process.set_uid(status.st_uid);
    processes.push_back(std::move(process));
  }
  return processes;
}

}  // namespace ipcrpc::monitor
