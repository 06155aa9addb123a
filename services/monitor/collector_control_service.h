// ipcrpc.monitor.v1.CollectorControl, answered from a NetMonitor and a SystemReader of this process.
#pragma once

#include "ipcrpc/monitor/v1/collector_control.ipcrpc.pb.h"
#include "services/monitor/net_monitor.h"
#include "services/monitor/system_reader.h"

namespace ipcrpc::monitor {

// Thread-safe. The monitor must outlive it. NetMonitor::Shutdown ends Follow.
class CollectorControlService final : public v1::CollectorControl::Service {
 public:
  explicit CollectorControlService(NetMonitor* monitor) : monitor_(monitor) {}

  Status Follow(ServerContext* context, const v1::FollowRequest* request,
                ServerWriter<v1::FollowReply>* writer) override;
  Status RefreshNeighbors(ServerContext* context, const v1::RefreshNeighborsRequest* request,
                          v1::CollectorPosition* reply) override;
  Status ReadStatus(ServerContext* context, const v1::GetStatusRequest* request, v1::StatusReading* reply) override;

 private:
  NetMonitor* const monitor_;
  const SystemReader reader_;
};

}  // namespace ipcrpc::monitor
