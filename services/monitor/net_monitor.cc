#include "services/monitor/net_monitor.h"

#include <algorithm>
#include <map>

#include "services/monitor/link_stats.h"

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

absl::StatusOr<v1::LinkStatsReply> NetMonitor::LinkStats(const v1::LinkStatsRequest& request) {
  v1::ListRequest links;
  links.add_kinds(v1::NetObject::LINK);
  *links.mutable_dev() = request.dev();
  links.set_netns(request.netns());
  const absl::StatusOr<v1::ListReply> list = store_.List(links);
  if (!list.ok()) return list.status();
  std::map<uint32_t, std::string> names;
  for (const v1::Link& link : list->links()) names[link.ifindex()] = link.ifname();

  // It is there, as its list was.
  Space& space = **std::find_if(spaces_.begin(), spaces_.end(),
                                [&](const auto& one) { return one->netns.netns.name() == request.netns(); });
  std::lock_guard lock(space.stats_mu);
  if (!space.stats_query) {
    const auto open = [&]() -> absl::Status {
      auto query = NetlinkQuery::Open();
      if (query.ok()) space.stats_query = *std::move(query);
      return query.status();
    };
    absl::Status status = space.netns.fd.get() < 0 ? open() : InNetns(space.netns, open);
    if (!status.ok()) return status;
  }
  v1::LinkStatsReply reply;
  Change now;
  Stamp(&now);
  reply.mutable_time()->set_seconds(now.realtime_ns / 1'000'000'000);
  reply.mutable_time()->set_nanos(static_cast<int32_t>(now.realtime_ns % 1'000'000'000));
  reply.set_monotonic_ns(static_cast<uint64_t>(now.monotonic_ns));
  *reply.mutable_netns() = list->netns();
  if (absl::Status status = ReadLinkStats(&*space.stats_query, names, reply.mutable_links()); !status.ok()) return status;
  return reply;
}

v1::StatsReply NetMonitor::Stats() const {
  v1::StatsReply reply;
  *reply.mutable_history() = store_.range();
  for (size_t number = 0; number < spaces_.size(); ++number) {
    const NetCollector::Stats stats = spaces_[number]->collector->stats();
    v1::CollectorStats* out = reply.add_collectors();
    *out->mutable_netns() = store_.netns(number);
    out->set_messages(stats.messages);
    out->set_malformed(stats.malformed);
    out->set_foreign(stats.foreign);
    out->set_overruns(stats.overruns);
    out->set_relists(stats.relists);
    out->set_dumps(stats.dumps);
    out->set_interrupted(stats.interrupted);
    out->set_gets(stats.gets);
    out->set_verifies(stats.verifies);
    out->set_verify_found(stats.verify_found);
    out->set_buffer_bytes(static_cast<uint64_t>(spaces_[number]->collector->buffer_bytes()));
  }
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
