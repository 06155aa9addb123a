#include "services/monitor/net_monitor.h"

#include <algorithm>

namespace ipcrpc::monitor {

absl::StatusOr<std::unique_ptr<NetMonitor>> NetMonitor::Start(const NetStore::Options& options, const OpenSource& open) {
  std::unique_ptr<NetMonitor> monitor(new NetMonitor(options));
  auto source = open(&monitor->store_);
  if (!source.ok()) return source.status();
  monitor->source_ = *std::move(source);
  return monitor;
}

absl::StatusOr<std::unique_ptr<NetMonitor>> NetMonitor::Start(const Options& options,
                                                              std::function<void(const absl::Status&)> report) {
  return Start(options.store, [&](NetStore* store) { return LocalNetwork::Open(store, options, report); });
}

NetMonitor::~NetMonitor() { Shutdown(); }

template <typename Request>
absl::Status NetMonitor::RefreshFor(const Request& request, const std::function<bool(const std::string& netns)>& wanted) {
  const auto& kinds = request.kinds();
  if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), v1::NetObject::NEIGHBOR) == kinds.end()) {
    return absl::OkStatus();
  }
  std::vector<size_t> numbers;
  for (size_t number = 0; number < store_.netns_count(); ++number) {
    if (wanted(store_.netns(number).name())) numbers.push_back(number);
  }
  return numbers.empty() ? absl::OkStatus() : source_->RefreshNeighbors(numbers);
}

absl::StatusOr<v1::ListReply> NetMonitor::List(const v1::ListRequest& request) {
  if (request.page_token().empty() && !request.has_revision()) {
    absl::Status status = RefreshFor(request, [&](const std::string& netns) { return netns == request.netns(); });
    if (!status.ok()) return status;
  }
  return store_.List(request);
}

absl::Status NetMonitor::Configure(const NetSettings& settings) {
  constexpr std::chrono::hours kMax{24 * 366};
  if (settings.verify_interval < kMax.zero() || settings.verify_interval > kMax) {
    return absl::InvalidArgumentError("the verify interval must be from 0 to 366 days");
  }
  return source_->Configure(settings);
}

absl::StatusOr<v1::LinkStatsReply> NetMonitor::LinkStats(const v1::LinkStatsRequest& request) {
  return source_->LinkStats(request);
}

v1::StatsReply NetMonitor::Stats() const {
  v1::StatsReply reply;
  *reply.mutable_history() = store_.range();
  for (v1::CollectorStats& stats : source_->Stats()) *reply.add_collectors() = std::move(stats);
  return reply;
}

v1::ListReply NetMonitor::Known() {
  // Without a page token, a list of everything is never refused.
  return store_.List({}).value();
}

absl::StatusOr<std::unique_ptr<NetWatcher>> NetMonitor::Watch(const v1::WatchRequest& request) {
  if (!request.has_since_revision()) {
    const auto& names = request.netns();
    absl::Status status = RefreshFor(request, [&](const std::string& netns) {
      if (names.empty()) return netns.empty();
      return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return name == "*" || name == netns; });
    });
    if (!status.ok()) return status;
  }
  return store_.Watch(request);
}

}  // namespace ipcrpc::monitor
