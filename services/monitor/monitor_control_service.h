// ipcrpc.monitor.v1.MonitorControl. Who may call it is the server's policy.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>

#include "ipcrpc/child.h"
#include "ipcrpc/monitor/v1/collector_control.ipcrpc.pb.h"
#include "ipcrpc/monitor/v1/monitor_control.ipcrpc.pb.h"
#include "services/monitor/net_monitor.h"

namespace ipcrpc::monitor {

// Thread-safe.
class MonitorControlService final : public v1::MonitorControl::Service {
 public:
  struct Options {
    NetSettings settings;  // as they are
    std::chrono::milliseconds snapshot_interval{1000};
    std::function<void(std::chrono::milliseconds)> set_snapshot_interval;
  };

  // What is given must outlive it. `collector`: null where there is one process.
  MonitorControlService(NetMonitor* monitor, SupervisedChild* collector, Options options);

  Status Pause(ServerContext* context, const v1::PauseRequest* request, v1::ControlReply* reply) override;
  Status Resume(ServerContext* context, const v1::ResumeRequest* request, v1::ControlReply* reply) override;
  Status Resync(ServerContext* context, const v1::ResyncNetworkRequest* request, v1::ControlReply* reply) override;
  Status SetIntervals(ServerContext* context, const v1::Intervals* request, v1::Intervals* reply) override;
  Status RestartCollector(ServerContext* context, const v1::RestartCollectorRequest* request,
                          v1::ControlReply* reply) override;
  Status Statistics(ServerContext* context, const v1::StatisticsRequest* request, v1::StatisticsReply* reply) override;

  // As SetIntervals, for whoever has another way to say it.
  absl::Status Set(const v1::Intervals& intervals);

 private:
  absl::Status SetPaused(bool paused);
  Status Reply(const absl::Status& status, v1::ControlReply* reply) const;
  v1::Intervals Current() const;

  NetMonitor* const monitor_;
  SupervisedChild* const collector_;
  const std::unique_ptr<v1::CollectorControl::Stub> control_;
  mutable std::mutex mu_;  // held while they are being made to hold, so that they do in the order of the calls
  Options options_;
};

}  // namespace ipcrpc::monitor
