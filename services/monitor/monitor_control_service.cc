#include "services/monitor/monitor_control_service.h"

#include <signal.h>

#include <thread>
#include <utility>

#include "services/monitor/process_statistics.h"
#include "services/monitor/status.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// For a collector to come up, and to read everything.
constexpr std::chrono::seconds kRestartPatience{10};

}  // namespace

MonitorControlService::MonitorControlService(NetMonitor* monitor, SupervisedChild* collector, Options options)
    : monitor_(monitor),
      collector_(collector),
      control_(collector == nullptr ? nullptr : v1::CollectorControl::NewStub(collector->channel())),
      options_(std::move(options)) {}

Status MonitorControlService::Reply(const absl::Status& status, v1::ControlReply* reply) const {
  if (!status.ok()) return ToStatus(status);
  reply->set_revision(monitor_->store().revision());
  return Status::OK;
}

absl::Status MonitorControlService::SetPaused(bool paused) {
  std::lock_guard lock(mu_);
  options_.settings.paused = paused;
  return monitor_->Configure(options_.settings);
}

Status MonitorControlService::Pause(ServerContext*, const v1::PauseRequest*, v1::ControlReply* reply) {
  const absl::Status status = SetPaused(true);
  // Without a collector it is as stale as it can be, and the next one is paused from the start.
  return Reply(absl::IsUnavailable(status) ? absl::OkStatus() : status, reply);
}

Status MonitorControlService::Resume(ServerContext*, const v1::ResumeRequest*, v1::ControlReply* reply) {
  return Reply(SetPaused(false), reply);
}

Status MonitorControlService::Resync(ServerContext*, const v1::ResyncNetworkRequest*, v1::ControlReply* reply) {
  return Reply(monitor_->Resync(), reply);
}

absl::Status MonitorControlService::Set(const v1::Intervals& intervals) {
  const uint64_t snapshot_ms = intervals.snapshot_interval_ms();
  if (intervals.has_snapshot_interval_ms() && (snapshot_ms < 10 || snapshot_ms > 86'400'000)) {
    return absl::InvalidArgumentError("snapshot_interval_ms must be from 10 to 86400000");
  }
  constexpr uint64_t kVerifyMax = 366ull * 86'400'000;
  if (intervals.verify_interval_ms() > kVerifyMax) {
    return absl::InvalidArgumentError("verify_interval_ms must be from 0 to 366 days");
  }
  std::lock_guard lock(mu_);
  if (intervals.has_snapshot_interval_ms()) {
    options_.snapshot_interval = milliseconds(snapshot_ms);
    options_.set_snapshot_interval(options_.snapshot_interval);
  }
  if (!intervals.has_verify_interval_ms()) return absl::OkStatus();
  options_.settings.verify_interval = milliseconds(intervals.verify_interval_ms());
  const absl::Status status = monitor_->Configure(options_.settings);
  return absl::IsUnavailable(status) ? absl::OkStatus() : status;  // holds for the next collector
}

v1::Intervals MonitorControlService::Current() const {
  std::lock_guard lock(mu_);
  v1::Intervals intervals;
  intervals.set_verify_interval_ms(static_cast<uint64_t>(options_.settings.verify_interval.count()));
  intervals.set_snapshot_interval_ms(static_cast<uint64_t>(options_.snapshot_interval.count()));
  return intervals;
}

Status MonitorControlService::SetIntervals(ServerContext*, const v1::Intervals* request, v1::Intervals* reply) {
  const absl::Status status = Set(*request);
  if (!status.ok()) return ToStatus(status);
  *reply = Current();
  return Status::OK;
}

Status MonitorControlService::RestartCollector(ServerContext* context, const v1::RestartCollectorRequest*,
                                               v1::ControlReply* reply) {
  if (collector_ == nullptr) {
    return Status(StatusCode::FAILED_PRECONDITION, "there is no collector to restart: the daemon runs in one process");
  }
  const uint64_t restarts = collector_->restarts();
  // Also one that does not answer. Where there is none, one is being started.
  if (const pid_t pid = collector_->pid(); pid > 0) kill(pid, SIGKILL);
  const auto deadline = steady_clock::now() + kRestartPatience;
  absl::Status status = absl::UnavailableError("no collector has come up");
  while (steady_clock::now() < deadline && !context->IsCancelled()) {
    if (collector_->restarts() != restarts) status = monitor_->Resync();
    // A successor that is paused has answered.
    if (absl::IsFailedPrecondition(status)) status = absl::OkStatus();
    if (!absl::IsUnavailable(status)) break;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return Reply(status, reply);
}

Status MonitorControlService::Statistics(ServerContext*, const v1::StatisticsRequest*, v1::StatisticsReply* reply) {
  *reply->mutable_network() = monitor_->Stats();
  reply->set_stale(monitor_->Known().stale());
  *reply->mutable_intervals() = Current();
  *reply->mutable_supervisor() = OwnStatistics();
  {
    std::lock_guard lock(mu_);
    reply->set_paused(options_.settings.paused);
  }
  if (collector_ == nullptr) return Status::OK;
  reply->set_collector_restarts(collector_->restarts());
  ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  if (!control_->Statistics(&context, {}, reply->mutable_collector()).ok()) reply->clear_collector();
  return Status::OK;
}

}  // namespace ipcrpc::monitor
