#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/collector_control.pb.h"
#include "ipcrpc/monitor/v1/system_status.pb.h"
#include "services/monitor/status_source.h"

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// How often a watcher of the status wants it.
// INVALID_ARGUMENT: not a duration, or outside the limits that the proto names.
absl::StatusOr<std::chrono::nanoseconds> WatchInterval(const v1::WatchStatusRequest& request);
// Of rates_over, likewise.
absl::StatusOr<std::chrono::nanoseconds> RatesInterval(const v1::GetStatusRequest& request);

// Reads the state of the machine. Keeps nothing between calls; any thread may call.
class SystemReader final : public StatusSource {
 public:
  // `root` stands before the paths of files; tests give one.
  explicit SystemReader(std::string root = "") : root_(std::move(root)) {}

  absl::StatusOr<v1::StatusReading> Read(const v1::GetStatusRequest& request) const override;

 private:
  void ReadHost(v1::Host* out) const;
  void ReadCpu(v1::StatusReply* out) const;
  void ReadMemory(v1::StatusReply* out) const;
  void ReadPressure(v1::StatusReply* out) const;
  void ReadMounts(v1::StatusReply* out) const;
  void ReadTemperatures(v1::StatusReply* out) const;
  absl::Status ReadCgroup(const std::string& path, v1::Cgroup* out) const;
  std::vector<v1::Process> ReadProcesses() const;
  // The text of root_ + path; empty when it cannot be read.
  std::string File(const std::string& path) const;
  // What is in the directory root_ + path; none when it cannot be read.
  std::vector<std::string> Names(const std::string& path) const;

  const std::string root_;
};

}  // namespace ipcrpc::monitor
