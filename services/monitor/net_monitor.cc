#include "services/monitor/net_monitor.h"

#include <algorithm>

namespace ipcrpc::monitor {
namespace {

constexpr std::chrono::milliseconds kRefreshInterval{100};

}  // namespace

absl::StatusOr<std::unique_ptr<NetMonitor>> NetMonitor::Start(const Options& options,
                                                              std::function<void(const absl::Status&)> report) {
  std::unique_ptr<NetMonitor> monitor(new NetMonitor(options.store));
  if (absl::Status status = monitor->Open(options); !status.ok()) return status;
  for (auto& space : monitor->spaces_) {
    space->thread = std::make_unique<NetCollectorThread>(space->collector.get(), report);
  }
  return monitor;
}

absl::Status NetMonitor::Open(const Options& options) {
  spaces_.push_back(std::make_unique<Space>(OpenNetns()));
  for (const std::string& name : options.netns) {
    auto opened = FindNetns(name);
    if (!opened.ok()) return opened.status();
    store_.AddNetns(opened->netns);
    spaces_.push_back(std::make_unique<Space>(*std::move(opened)));
  }
  const NameTables names = NameTables::Load();
  for (size_t number = 0; number < spaces_.size(); ++number) {
    Space& space = *spaces_[number];
    NetCollector::Options collector_options = options.collector;
    collector_options.netns = number == 0 ? nullptr : &space.netns;
    collector_options.netns_number = number;
    auto collector = NetCollector::Open(&store_, names, collector_options);
    if (!collector.ok()) return collector.status();
    space.collector = *std::move(collector);
  }
  return absl::OkStatus();
}

NetMonitor::~NetMonitor() {
  Shutdown();
  for (auto& space : spaces_) space->thread.reset();
}

template <typename Request>
absl::Status NetMonitor::RefreshFor(const Request& request, const std::function<bool(const std::string& netns)>& wanted) {
  const auto& kinds = request.kinds();
  if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), v1::NetObject::NEIGHBOR) == kinds.end()) {
    return absl::OkStatus();
  }
  for (auto& space : spaces_) {
    if (!wanted(space->netns.netns.name())) continue;
    if (absl::Status status = Refresh(*space); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Whoever comes while another reads waits, and has what the other has read.
absl::Status NetMonitor::Refresh(Space& space) {
  std::lock_guard lock(space.refresh_mu);
  if (NetCollector::Clock::now() < space.next_refresh) return absl::OkStatus();
  absl::Status status = space.collector->RefreshNeighbors();
  space.next_refresh = NetCollector::Clock::now() + kRefreshInterval;
  return status;
}

absl::StatusOr<v1::ListReply> NetMonitor::List(const v1::ListRequest& request) {
  if (request.page_token().empty() && !request.has_revision()) {
    absl::Status status = RefreshFor(request, [&](const std::string& netns) { return netns == request.netns(); });
    if (!status.ok()) return status;
  }
  return store_.List(request);
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
