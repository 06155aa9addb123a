#include "services/monitor/net_monitor.h"

#include <algorithm>

namespace ipcrpc::monitor {
namespace {

constexpr std::chrono::milliseconds kRefreshInterval{100};

}  // namespace

absl::StatusOr<std::unique_ptr<NetMonitor>> NetMonitor::Start(std::function<void(const absl::Status&)> report) {
  std::unique_ptr<NetMonitor> monitor(new NetMonitor);
  auto collector = NetCollector::Open(&monitor->store_);
  if (!collector.ok()) return collector.status();
  monitor->collector_ = std::move(*collector);
  monitor->thread_ = std::make_unique<NetCollectorThread>(monitor->collector_.get(), std::move(report));
  return monitor;
}

NetMonitor::~NetMonitor() {
  Shutdown();
  thread_.reset();
}

template <typename Request>
absl::Status NetMonitor::RefreshFor(const Request& request) {
  const auto& kinds = request.kinds();
  if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), v1::NetObject::NEIGHBOR) == kinds.end()) {
    return absl::OkStatus();
  }
  // Whoever comes while another reads waits, and has what the other has read.
  std::lock_guard lock(refresh_mu_);
  if (NetCollector::Clock::now() < next_refresh_) return absl::OkStatus();
  absl::Status status = collector_->RefreshNeighbors();
  next_refresh_ = NetCollector::Clock::now() + kRefreshInterval;
  return status;
}

absl::StatusOr<v1::ListReply> NetMonitor::List(const v1::ListRequest& request) {
  if (request.page_token().empty()) {
    if (absl::Status status = RefreshFor(request); !status.ok()) return status;
  }
  return store_.List(request);
}

v1::ListReply NetMonitor::Known() {
  // Without a page token, a list of everything is never refused.
  return store_.List({}).value();
}

absl::StatusOr<std::unique_ptr<NetWatcher>> NetMonitor::Watch(const v1::WatchRequest& request) {
  if (!request.has_since_revision()) {
    if (absl::Status status = RefreshFor(request); !status.ok()) return status;
  }
  return store_.Watch(request);
}

}  // namespace ipcrpc::monitor
