#include "services/monitor/net_events_service.h"

#include <algorithm>
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

bool Lists(const v1::ListRequest& request, v1::NetObject::Kind kind) {
  return request.kinds().empty() || std::find(request.kinds().begin(), request.kinds().end(), kind) != request.kinds().end();
}

}  // namespace

Status NetEventsService::List(ServerContext*, const v1::ListRequest* request, v1::ListReply* reply) {
  // A page token stands for a list made before.
  if (request->page_token().empty() && Lists(*request, v1::NetObject::NEIGHBOR)) {
    if (absl::Status refreshed = collector_->RefreshNeighbors(); !refreshed.ok()) return ToStatus(refreshed);
  }
  absl::StatusOr<v1::ListReply> list = store_->List(*request);
  if (!list.ok()) return ToStatus(list.status());
  *reply = *std::move(list);
  return Status::OK;
}

Status NetEventsService::Watch(ServerContext* context, const v1::WatchRequest* request,
                               ServerWriter<v1::NetEvent>* writer) {
  absl::StatusOr<std::unique_ptr<NetWatcher>> watcher = store_->Watch(*request);
  if (!watcher.ok()) return ToStatus(watcher.status());
  const std::stop_token stop = context->stop_token();
  const NetStore::SteadyTime deadline = SteadyDeadline(*context);
  for (;;) {
    absl::StatusOr<EventPtr> event = (*watcher)->Next(stop, deadline);
    if (!event.ok()) return ToStatus(event.status());
    if (!writer->Write(**event)) return Status::CANCELLED;
  }
}

}  // namespace ipcrpc::monitor
