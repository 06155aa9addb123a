// The state of the machine as a collector in another process reads it.
#pragma once

#include <memory>

#include "ipcrpc/channel.h"
#include "ipcrpc/monitor/v1/collector_control.ipcrpc.pb.h"
#include "services/monitor/collector_call.h"
#include "services/monitor/status_source.h"

namespace ipcrpc::monitor {

// Where no collector is, waits for the next one for a moment.
class RemoteStatus final : public StatusSource {
 public:
  explicit RemoteStatus(const std::shared_ptr<Channel>& channel) : control_(v1::CollectorControl::NewStub(channel)) {}

  absl::StatusOr<v1::StatusReading> Read(const v1::GetStatusRequest& request) const override {
    v1::StatusReading reading;
    absl::Status status = CallCollector(
        [&](ClientContext* context) { return control_->ReadStatus(context, request, &reading); });
    if (!status.ok()) return status;
    return reading;
  }

 private:
  const std::unique_ptr<v1::CollectorControl::Stub> control_;
};

}  // namespace ipcrpc::monitor
