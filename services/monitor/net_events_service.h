// ipcrpc.monitor.v1.NetEvents, answered from a NetMonitor.
#pragma once

#include "ipcrpc/monitor/v1/net_events.ipcrpc.pb.h"
#include "services/monitor/net_monitor.h"

namespace ipcrpc::monitor {

// Thread-safe. The monitor must outlive it.
class NetEventsService final : public v1::NetEvents::Service {
 public:
  explicit NetEventsService(NetMonitor* monitor) : monitor_(monitor) {}

  Status List(ServerContext* context, const v1::ListRequest* request, v1::ListReply* reply) override;
  Status Watch(ServerContext* context, const v1::WatchRequest* request, ServerWriter<v1::NetEvent>* writer) override;
  Status LinkStats(ServerContext* context, const v1::LinkStatsRequest* request, v1::LinkStatsReply* reply) override;
  Status Stats(ServerContext* context, const v1::StatsRequest* request, v1::StatsReply* reply) override;

 private:
  NetMonitor* const monitor_;
};

}  // namespace ipcrpc::monitor
