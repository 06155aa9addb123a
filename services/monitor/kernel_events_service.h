// ipcrpc.monitor.v1.KernelEvents: each watcher has a socket of its own, for as long as it watches.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <stop_token>

#include "absl/status/status.h"
#include "ipcrpc/monitor/v1/kernel_events.ipcrpc.pb.h"
#include "services/monitor/netlink_socket.h"

namespace ipcrpc::monitor {

// Thread-safe.
class KernelEventsService final : public v1::KernelEvents::Service {
 public:
  explicit KernelEventsService(bool processes) : processes_(processes) {}

  Status WatchUevents(ServerContext* context, const v1::WatchUeventsRequest* request,
                      ServerWriter<v1::Uevent>* writer) override;
  Status WatchProcesses(ServerContext* context, const v1::WatchProcessesRequest* request,
                        ServerWriter<v1::ProcessEvent>* writer) override;

  // Ends all watches, now and later, with UNAVAILABLE. For shutdown.
  void Close() { closing_.request_stop(); }

 private:
  // Tells what `parse` makes of each datagram, until the call is over.
  template <typename Event>
  Status Tell(ServerContext& context, NetlinkFeed& feed,
              const std::function<std::optional<Event>(std::span<const uint8_t>)>& parse, ServerWriter<Event>* writer);

  const bool processes_;
  std::stop_source closing_;
};

}  // namespace ipcrpc::monitor
