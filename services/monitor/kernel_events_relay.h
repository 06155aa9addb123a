// ipcrpc.monitor.v1.KernelEvents, handed on from a collector in another process.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>

#include "ipcrpc/channel.h"
#include "ipcrpc/monitor/v1/kernel_events.ipcrpc.pb.h"

namespace ipcrpc::monitor {

// Thread-safe. When a collector ends, its watchers are told that something was lost, at once and again before the first
// event of the next one; and watch that.
class KernelEventsRelay final : public v1::KernelEvents::Service {
 public:
  explicit KernelEventsRelay(const std::shared_ptr<Channel>& channel) : collector_(v1::KernelEvents::NewStub(channel)) {}

  Status WatchUevents(ServerContext* context, const v1::WatchUeventsRequest* request,
                      ServerWriter<v1::Uevent>* writer) override;
  Status WatchProcesses(ServerContext* context, const v1::WatchProcessesRequest* request,
                        ServerWriter<v1::ProcessEvent>* writer) override;

  // Ends all watches, now and later, with UNAVAILABLE. For shutdown.
  void Close() { closing_.request_stop(); }

 private:
  template <typename Event>
  Status HandOn(ServerContext& context, const std::function<std::unique_ptr<ClientReader<Event>>(ClientContext*)>& watch,
                ServerWriter<Event>* writer);

  const std::unique_ptr<v1::KernelEvents::Stub> collector_;
  std::stop_source closing_;
};

}  // namespace ipcrpc::monitor
