#pragma once

#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/collector_control.pb.h"

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// Who reads the state of the machine: this process (SystemReader), or a collector (RemoteStatus). Any thread may call.
class StatusSource {
 public:
  virtual ~StatusSource() = default;

  // The sections asked for (none = all). What this kernel lacks is absent. StatusOf() makes a reply of it.
  // INVALID_ARGUMENT: a section that does not exist, a path that is none. NOT_FOUND: no such cgroup. UNAVAILABLE: who
  // reads does not answer.
  virtual absl::StatusOr<v1::StatusReading> Read(const v1::GetStatusRequest& request) const = 0;
};

}  // namespace ipcrpc::monitor
