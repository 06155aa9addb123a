#include "services/monitor/system_status_service.h"

#include <chrono>
#include <optional>
#include <utility>

#include "services/monitor/rates.h"
#include "services/monitor/status.h"
#include "services/monitor/system_reader.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::steady_clock;

}  // namespace

Status SystemStatusService::Get(ServerContext* context, const v1::GetStatusRequest* request, v1::StatusReply* reply) {
  std::optional<v1::StatusReading> before;
  if (request->has_rates_over()) {
    const absl::StatusOr<std::chrono::nanoseconds> interval = RatesInterval(*request);
    if (!interval.ok()) return ToStatus(interval.status());
    absl::StatusOr<v1::StatusReading> first = source_->Read(*request);
    if (!first.ok()) return ToStatus(first.status());
    before = *std::move(first);
    if (const Status status = Pause(*context, steady_clock::now() + *interval); !status.ok()) return status;
  }
  const absl::StatusOr<v1::StatusReading> reading = source_->Read(*request);
  if (!reading.ok()) return ToStatus(reading.status());
  *reply = StatusOf(*reading, before ? &*before : nullptr, request->top_processes());
  return Status::OK;
}

Status SystemStatusService::Watch(ServerContext* context, const v1::WatchStatusRequest* request,
                                  ServerWriter<v1::StatusReply>* writer) {
  const absl::StatusOr<std::chrono::nanoseconds> interval = WatchInterval(*request);
  if (!interval.ok()) return ToStatus(interval.status());
  v1::GetStatusRequest parts;
  *parts.mutable_sections() = request->sections();
  parts.set_cgroup(request->cgroup());
  parts.set_top_processes(request->top_processes());
  std::optional<v1::StatusReading> before;
  auto next = steady_clock::now();
  for (;;) {
    absl::StatusOr<v1::StatusReading> reading = source_->Read(parts);
    if (!reading.ok()) return ToStatus(reading.status());
    if (!writer->Write(StatusOf(*reading, before ? &*before : nullptr, parts.top_processes()))) return Status::CANCELLED;
    before = *std::move(reading);
    // By the clock, not by the time that reading took; what was missed is left out.
    next += *interval;
    if (const auto now = steady_clock::now(); next < now) next = now;
    if (const Status paused = Pause(*context, next); !paused.ok()) return paused;
  }
}

Status SystemStatusService::Pause(ServerContext& context, steady_clock::time_point until) {
  const std::stop_token stop = context.stop_token();
  std::unique_lock lock(mu_);
  if (closing_.wait_until(lock, stop, until, [this] { return closed_; })) {
    return Status(StatusCode::UNAVAILABLE, "the monitor is shutting down");
  }
  return stop.stop_requested() ? Status::CANCELLED : Status::OK;
}

void SystemStatusService::Close() {
  {
    std::lock_guard lock(mu_);
    closed_ = true;
  }
  closing_.notify_all();
}

}  // namespace ipcrpc::monitor
