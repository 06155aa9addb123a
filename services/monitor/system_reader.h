#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/system_status.pb.h"

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// How often a watcher of the status wants it.
// INVALID_ARGUMENT: not a duration, or outside the limits that the proto names.
absl::StatusOr<std::chrono::nanoseconds> WatchInterval(const v1::WatchStatusRequest& request);

// Reads the state of the machine. Keeps nothing between calls; any thread may call.
class SystemReader {
 public:
  // `root` stands before the paths of files; tests give one.
  explicit SystemReader(std::string root = "") : root_(std::move(root)) {}

  // The sections asked for (none = all). What this kernel lacks is absent.
  // INVALID_ARGUMENT: a section that does not exist.
  absl::StatusOr<v1::StatusReply> Read(const v1::GetStatusRequest& request) const;

 private:
  void ReadHost(v1::Host* out) const;
  void ReadCpu(v1::StatusReply* out) const;
  void ReadMemory(v1::StatusReply* out) const;
  void ReadPressure(v1::StatusReply* out) const;
  void ReadMounts(v1::StatusReply* out) const;
  // The text of root_ + path; empty when it cannot be read.
  std::string File(const char* path) const;

  const std::string root_;
};

}  // namespace ipcrpc::monitor
