#include "services/monitor/net_events_service.h"

#include <chrono>
#include <utility>

#include "services/monitor/status.h"

namespace ipcrpc::monitor {
namespace {

// When the call must be over, on the clock that the store waits by.
NetStore::SteadyTime SteadyDeadline(const ServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return NetStore::SteadyTime::max();
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - std::chrono::system_clock::now());
}

}  // namespace

Status NetEventsService::List(ServerContext*, const v1::ListRequest* request, v1::ListReply* reply) {
  absl::StatusOr<v1::ListReply> list = monitor_->List(*request);
  if (!list.ok()) return ToStatus(list.status());
  *reply = *std::move(list);
  return Status::OK;
}

Status NetEventsService::Watch(ServerContext* context, const v1::WatchRequest* request,
                               ServerWriter<v1::NetEvent>* writer) {
  absl::StatusOr<std::unique_ptr<NetWatcher>> watcher = monitor_->Watch(*request);
  if (!watcher.ok()) return ToStatus(watcher.status());
  const std::stop_token stop = context->stop_token();
  const NetStore::SteadyTime deadline = SteadyDeadline(*context);
  for (;;) {
    absl::StatusOr<EventPtr> event = (*watcher)->Next(stop, deadline);
    if (!event.ok()) return ToStatus(event.status());
    if (!writer->Write(**event)) return Status::CANCELLED;
  }
}

Status NetEventsService::LinkStats(ServerContext*, const v1::LinkStatsRequest* request, v1::LinkStatsReply* reply) {
  absl::StatusOr<v1::LinkStatsReply> stats = monitor_->LinkStats(*request);
  if (!stats.ok()) return ToStatus(stats.status());
  *reply = *std::move(stats);
  return Status::OK;
}

Status NetEventsService::Stats(ServerContext*, const v1::StatsRequest*, v1::StatsReply* reply) {
  *reply = monitor_->Stats();
  return Status::OK;
}

}  // namespace ipcrpc::monitor
