#include "services/monitor/system_status_service.h"

#include <chrono>
#include <utility>

#include "services/monitor/status.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::steady_clock;

}  // namespace

Status SystemStatusService::Get(ServerContext* context, const v1::GetStatusRequest* request, v1::StatusReply* reply) {
  SystemReader::Before before;
  const bool twice = request->has_rates_over();
  if (twice) {
    const absl::StatusOr<std::chrono::nanoseconds> interval = RatesInterval(*request);
    if (!interval.ok()) return ToStatus(interval.status());
    const absl::StatusOr<v1::StatusReply> first = reader_.Read(*request, nullptr, &before);
    if (!first.ok()) return ToStatus(first.status());
    if (const Status status = Pause(*context, steady_clock::now() + *interval); !status.ok()) return status;
  }
  absl::StatusOr<v1::StatusReply> status = reader_.Read(*request, twice ? &before : nullptr, nullptr);
  if (!status.ok()) return ToStatus(status.status());
  *reply = *std::move(status);
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
  // This and the reading before, in turns.
  SystemReader::Before readings[2];
  auto next = steady_clock::now();
  for (size_t turn = 0;; ++turn) {
    absl::StatusOr<v1::StatusReply> status =
        reader_.Read(parts, turn == 0 ? nullptr : &readings[(turn + 1) % 2], &readings[turn % 2]);
    if (!status.ok()) return ToStatus(status.status());
    if (!writer->Write(*status)) return Status::CANCELLED;
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
