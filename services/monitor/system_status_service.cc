#include "services/monitor/system_status_service.h"

#include <chrono>
#include <utility>

#include "services/monitor/status.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::steady_clock;

}  // namespace

Status SystemStatusService::Get(ServerContext*, const v1::GetStatusRequest* request, v1::StatusReply* reply) {
  absl::StatusOr<v1::StatusReply> status = reader_.Read(*request);
  if (!status.ok()) return ToStatus(status.status());
  *reply = *std::move(status);
  return Status::OK;
}

Status SystemStatusService::Watch(ServerContext* context, const v1::WatchStatusRequest* request,
                                  ServerWriter<v1::StatusReply>* writer) {
  const absl::StatusOr<std::chrono::nanoseconds> interval = WatchInterval(*request);
  if (!interval.ok()) return ToStatus(interval.status());
  v1::GetStatusRequest sections;
  *sections.mutable_sections() = request->sections();
  const std::stop_token stop = context->stop_token();
  auto next = steady_clock::now();
  for (;;) {
    absl::StatusOr<v1::StatusReply> status = reader_.Read(sections);
    if (!status.ok()) return ToStatus(status.status());
    if (!writer->Write(*status)) return Status::CANCELLED;
    // By the clock, not by the time that reading took; what was missed is left out.
    next += *interval;
    if (const auto now = steady_clock::now(); next < now) next = now;
    std::unique_lock lock(mu_);
    if (closing_.wait_until(lock, stop, next, [this] { return closed_; })) {
      return Status(StatusCode::UNAVAILABLE, "the monitor is shutting down");
    }
    if (stop.stop_requested()) return Status::CANCELLED;
  }
}

void SystemStatusService::Close() {
  {
    std::lock_guard lock(mu_);
    closed_ = true;
  }
  closing_.notify_all();
}

}  // namespace ipcrpc::monitor
