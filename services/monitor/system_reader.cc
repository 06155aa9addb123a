#include "services/monitor/system_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "services/monitor/parse_proc.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {
namespace {

// File systems that answer from elsewhere and may never do so, and autofs, which mounts when asked.
bool MayBlock(std::string_view type) {
  static constexpr std::string_view kTypes[] = {"nfs",  "nfs4", "cifs", "smb3",   "9p",     "ceph", "afs",
                                                "gfs2", "ocfs2", "fuse", "lustre", "autofs", "ncpfs"};
  return type.starts_with("fuse.") || std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
}

void AskFileSystem(const std::string& path, v1::Mount* mount) {
  if (MayBlock(mount->fs_type())) {
    mount->set_usage_error("not asked: a file system of this type may never answer");
    return;
  }
  // Another may be mounted over it; the kernel says which one a path leads to (since 5.8).
  struct statx identity;
  if (statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT, STATX_MNT_ID, &identity) == 0 &&
      (identity.stx_mask & STATX_MNT_ID) && identity.stx_mnt_id != mount->mount_id()) {
    mount->set_usage_error("hidden by another mount");
    return;
  }
  struct statvfs status;
  if (statvfs(path.c_str(), &status) != 0) {
    mount->set_usage_error(strerror(errno));
    return;
  }
  // proc, sysfs and their like have no size.
  if (status.f_blocks == 0) return;
  v1::FsUsage* usage = mount->mutable_usage();
  usage->set_total_bytes(status.f_blocks * status.f_frsize);
  usage->set_free_bytes(status.f_bfree * status.f_frsize);
  usage->set_available_bytes(status.f_bavail * status.f_frsize);
  usage->set_inodes(status.f_files);
  usage->set_inodes_free(status.f_ffree);
  usage->set_read_only(status.f_flag & ST_RDONLY);
}

}  // namespace

namespace {

using std::chrono::nanoseconds;

// Compared before it is added up, as the seconds may be any number.
absl::StatusOr<nanoseconds> Checked(const char* field, const google::protobuf::Duration& duration, nanoseconds least,
                                    nanoseconds most, const char* limits) {
  const int64_t seconds = duration.seconds();
  const int32_t nanos = duration.nanos();
  const bool valid = nanos >= 0 && nanos < 1'000'000'000 && seconds >= 0 && seconds <= 86'400;
  const nanoseconds interval = valid ? std::chrono::seconds(seconds) + nanoseconds(nanos) : nanoseconds(-1);
  if (interval >= least && interval <= most) return interval;
  return absl::InvalidArgumentError(
      absl::StrCat(field, " ", seconds, " s ", nanos, " ns: it must be from ", limits));
}

constexpr nanoseconds kLeast = std::chrono::milliseconds(10);

}  // namespace

absl::StatusOr<nanoseconds> WatchInterval(const v1::WatchStatusRequest& request) {
  if (!request.has_interval()) return std::chrono::seconds(1);
  return Checked("interval", request.interval(), kLeast, std::chrono::hours(24), "10 ms to one day");
}

absl::StatusOr<nanoseconds> RatesInterval(const v1::GetStatusRequest& request) {
  return Checked("rates_over", request.rates_over(), kLeast, std::chrono::minutes(1), "10 ms to one minute");
}

absl::StatusOr<v1::StatusReading> SystemReader::Read(const v1::GetStatusRequest& request) const {
  std::set<int> sections(request.sections().begin(), request.sections().end());
  for (int section : sections) {
    if (section == v1::STATUS_SECTION_UNSPECIFIED || !v1::StatusSection_IsValid(section)) {
      return absl::InvalidArgumentError(
          absl::StrCat("section ", section, " does not exist; sections are HOST, CPU, MEMORY, PRESSURE, DISKS, "
                       "MOUNTS, NETWORK, TEMPERATURES"));
    }
  }
  auto wanted = [&](v1::StatusSection section) { return sections.empty() || sections.count(section) != 0; };

  v1::StatusReading reading;
  v1::StatusReply& reply = *reading.mutable_status();
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  reply.mutable_time()->set_seconds(time.tv_sec);
  reply.mutable_time()->set_nanos(static_cast<int32_t>(time.tv_nsec));
  clock_gettime(CLOCK_MONOTONIC, &time);
  reply.set_monotonic_ns(static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec));
  // First what rates are made of, as nearest to the clocks.
  if (wanted(v1::CPU)) ReadCpu(&reply);
  if (wanted(v1::DISKS)) ParseDisks(File("/proc/diskstats"), reply.mutable_disks());
  if (wanted(v1::NETWORK)) ParseNetCounters(File("/proc/net/dev"), reply.mutable_networks());
  if (!request.cgroup().empty()) {
    if (absl::Status status = ReadCgroup(request.cgroup(), reply.mutable_cgroup()); !status.ok()) return status;
  }
  if (request.top_processes() != 0) {
    for (v1::Process& process : ReadProcesses()) *reading.add_processes() = std::move(process);
  }
  if (wanted(v1::HOST)) ReadHost(reply.mutable_host());
  if (wanted(v1::MEMORY)) ReadMemory(&reply);
  if (wanted(v1::PRESSURE)) ReadPressure(&reply);
  if (wanted(v1::TEMPERATURES)) ReadTemperatures(&reply);
  if (wanted(v1::MOUNTS)) ReadMounts(&reply);
  return reading;
}

void SystemReader::ReadHost(v1::Host* out) const {
  utsname name;
  if (uname(&name) == 0) {
    out->set_hostname(ValidUtf8(name.nodename));
    out->set_sysname(name.sysname);
    out->set_kernel(name.release);
    out->set_kernel_version(name.version);
    out->set_machine(name.machine);
  }
  out->set_boot_id(std::string(absl::StripAsciiWhitespace(File("/proc/sys/kernel/random/boot_id"))));
  v1::Cpu unused;
  int64_t boot_time = 0;
  ParseStat(File("/proc/stat"), sysconf(_SC_CLK_TCK), &unused, &boot_time);
  if (boot_time != 0) out->mutable_boot_time()->set_seconds(boot_time);
  double uptime;
  if (ParseUptime(File("/proc/uptime"), &uptime)) out->set_uptime_seconds(uptime);
  v1::Load load;
  if (ParseLoad(File("/proc/loadavg"), &load)) *out->mutable_load() = load;
}

void SystemReader::ReadCpu(v1::StatusReply* out) const {
  v1::Cpu cpu;
  int64_t boot_time;
  if (ParseStat(File("/proc/stat"), sysconf(_SC_CLK_TCK), &cpu, &boot_time)) *out->mutable_cpu() = std::move(cpu);
}

void SystemReader::ReadMemory(v1::StatusReply* out) const {
  v1::Memory memory;
  // A kernel without swap has no such file; one without swap areas has its headings.
  if (std::string swaps = File("/proc/swaps"); !swaps.empty()) ParseSwaps(swaps, memory.mutable_swap());
  if (ParseMemory(File("/proc/meminfo"), &memory)) *out->mutable_memory() = std::move(memory);
}

void SystemReader::ReadPressure(v1::StatusReply* out) const {
  struct Resource {
    const char* path;
    v1::PressureResource* (v1::Pressure::*mutable_resource)();
  };
  static constexpr Resource kResources[] = {{"/proc/pressure/cpu", &v1::Pressure::mutable_cpu},
                                            {"/proc/pressure/io", &v1::Pressure::mutable_io},
                                            {"/proc/pressure/memory", &v1::Pressure::mutable_memory},
                                            {"/proc/pressure/irq", &v1::Pressure::mutable_irq}};
  for (const Resource& resource : kResources) {
    v1::PressureResource parsed;
    if (ParsePressure(File(resource.path), &parsed)) *(out->mutable_pressure()->*resource.mutable_resource)() = parsed;
  }
}

void SystemReader::ReadMounts(v1::StatusReply* out) const {
  std::vector<std::string> paths;
  ParseMounts(File("/proc/self/mountinfo"), out->mutable_mounts(), &paths);
  for (int i = 0; i < out->mounts_size(); ++i) {
    AskFileSystem(root_ + paths[static_cast<size_t>(i)], out->mutable_mounts(i));
  }
}

std::string SystemReader::File(const std::string& path) const {
  std::string text;
  int fd = open((root_ + path).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char buffer[16384];
  ssize_t size;
  while ((size = read(fd, buffer, sizeof buffer)) > 0 || (size < 0 && errno == EINTR)) {
    if (size > 0) text.append(buffer, static_cast<size_t>(size));
  }
  close(fd);
  // Half a file would be taken for a whole one. (The kernel refuses pressure files where PSI is off.)
  return size < 0 ? "" : text;
}

}  // namespace ipcrpc::monitor
