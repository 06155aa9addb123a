// ipcrpc.monitor.v1.NetEvents, answered from a NetStore.
#pragma once

#include "ipcrpc/monitor/v1/net_events.ipcrpc.pb.h"
#include "services/monitor/net_collector.h"
#include "services/monitor/net_store.h"

namespace ipcrpc::monitor {

// Thread-safe. The store and the collector must outlive it.
class NetEventsService final : public v1::NetEvents::Service {
 public:
  // `collector` is asked to read the neighbours again before they are listed: the kernel keeps to itself some of
  // their steps.
  NetEventsService(NetStore* store, NetCollector* collector) : store_(store), collector_(collector) {}

  Status List(ServerContext* context, const v1::ListRequest* request, v1::ListReply* reply) override;
  Status Watch(ServerContext* context, const v1::WatchRequest* request, ServerWriter<v1::NetEvent>* writer) override;

 private:
  NetStore* const store_;
  NetCollector* const collector_;
};

}  // namespace ipcrpc::monitor
