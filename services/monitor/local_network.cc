#include "services/monitor/local_network.h"

#include <algorithm>
#include <map>

#include "services/monitor/link_stats.h"

namespace ipcrpc::monitor {
namespace {

constexpr std::chrono::milliseconds kRefreshInterval{100};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalNetwork>> LocalNetwork::Open(NetStore* store, const Options& options,
                                                                 std::function<void(const absl::Status&)> report) {
  std::unique_ptr<LocalNetwork> network(new LocalNetwork(store));
  if (absl::Status status = network->OpenSpaces(options.netns, options.collector); !status.ok()) return status;
  if (options.opened) {
    if (absl::Status status = options.opened(); !status.ok()) return status;
  }
  for (auto& space : network->spaces_) {
    if (absl::Status status = space->collector->Load(); !status.ok()) return status;
  }
  for (auto& space : network->spaces_) {
    space->thread = std::make_unique<NetCollectorThread>(space->collector.get(), report);
  }
  return network;
}

absl::Status LocalNetwork::OpenSpaces(const std::vector<NetnsPlace>& netns, NetCollector::Options options) {
  spaces_.push_back(std::make_unique<Space>(OpenNetns()));
  for (const NetnsPlace& place : netns) {
    auto opened = FindNetns(place);
    if (!opened.ok()) return opened.status();
    store_->AddNetns(opened->netns);
    spaces_.push_back(std::make_unique<Space>(*std::move(opened)));
  }
  settings_.verify_interval = options.verify_interval;
  const NameTables names = NameTables::Load();
  for (size_t number = 0; number < spaces_.size(); ++number) {
    Space& space = *spaces_[number];
    options.netns = number == 0 ? nullptr : &space.netns;
    options.netns_number = number;
    auto collector = NetCollector::Open(store_, names, options);
    if (!collector.ok()) return collector.status();
    space.collector = *std::move(collector);
    const auto open_query = [&]() -> absl::Status {
      auto query = NetlinkQuery::Open();
      if (query.ok()) space.stats_query = *std::move(query);
      return query.status();
    };
    absl::Status status = number == 0 ? open_query() : InNetns(space.netns, open_query);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status LocalNetwork::RefreshNeighbors(const std::vector<size_t>& netns) {
  for (size_t number : netns) {
    Space& space = *spaces_[number];
    std::lock_guard lock(space.refresh_mu);
    if (NetCollector::Clock::now() < space.next_refresh) continue;
    absl::Status status = space.collector->RefreshNeighbors();
    space.next_refresh = NetCollector::Clock::now() + kRefreshInterval;
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status LocalNetwork::Configure(const NetSettings& settings) {
  std::lock_guard lock(settings_mu_);
  if (settings == settings_) return absl::OkStatus();
  for (auto& space : spaces_) {
    if (absl::Status status = space->collector->Configure(settings); !status.ok()) return status;
  }
  settings_ = settings;
  return absl::OkStatus();
}

absl::Status LocalNetwork::Resync() {
  for (auto& space : spaces_) {
    if (absl::Status status = space->collector->Resync(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::LinkStatsReply> LocalNetwork::LinkStats(const v1::LinkStatsRequest& request) {
  v1::ListRequest links;
  links.add_kinds(v1::NetObject::LINK);
  *links.mutable_dev() = request.dev();
  links.set_netns(request.netns());
  const absl::StatusOr<v1::ListReply> list = store_->List(links);
  if (!list.ok()) return list.status();
  std::map<uint32_t, std::string> names;
  for (const v1::Link& link : list->links()) names[link.ifindex()] = link.ifname();

  // It is there, as its list was.
  Space& space = **std::find_if(spaces_.begin(), spaces_.end(),
                                [&](const auto& one) { return one->netns.netns.name() == request.netns(); });
  std::lock_guard lock(space.stats_mu);
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

std::vector<v1::CollectorStats> LocalNetwork::Stats() {
  std::vector<v1::CollectorStats> all;
  for (size_t number = 0; number < spaces_.size(); ++number) {
    const NetCollector::Stats stats = spaces_[number]->collector->stats();
    v1::CollectorStats& out = all.emplace_back();
    *out.mutable_netns() = store_->netns(number);
    out.set_messages(stats.messages);
    out.set_malformed(stats.malformed);
    out.set_foreign(stats.foreign);
    out.set_overruns(stats.overruns);
    out.set_relists(stats.relists);
    out.set_dumps(stats.dumps);
    out.set_interrupted(stats.interrupted);
    out.set_gets(stats.gets);
    out.set_verifies(stats.verifies);
    out.set_verify_found(stats.verify_found);
    out.set_buffer_bytes(static_cast<uint64_t>(spaces_[number]->collector->buffer_bytes()));
  }
  return all;
}

}  // namespace ipcrpc::monitor
