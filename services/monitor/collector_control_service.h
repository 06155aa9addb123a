// ipcrpc.monitor.v1.CollectorControl, answered from a NetMonitor and a SystemReader of this process.
#pragma once

#include <mutex>
#include <string>
#include <vector>

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
  Status Configure(ServerContext* context, const v1::CollectorSettings* request, v1::CollectorPosition* reply) override;
  Status Resync(ServerContext* context, const v1::ResyncRequest* request, v1::CollectorPosition* reply) override;
  Status RefreshNeighbors(ServerContext* context, const v1::RefreshNeighborsRequest* request,
                          v1::CollectorPosition* reply) override;
  Status ReadStatus(ServerContext* context, const v1::GetStatusRequest* request, v1::StatusReading* reply) override;

  Status Statistics(ServerContext* context, const v1::CollectorStatisticsRequest* request,
                    v1::ProcessStatistics* reply) override;

  // For whoever runs the daemon: goes to those who follow, within a second. Of what nobody hears the first few are kept.
  void Say(std::string text);

 private:
  // What to reply to what changed the store.
  Status Position(const absl::Status& status, v1::CollectorPosition* reply) const;

  NetMonitor* const monitor_;
  std::mutex said_mu_;
  std::vector<std::string> said_;
  const SystemReader reader_;
};

}  // namespace ipcrpc::monitor
