#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "services/monitor/net_collector.h"
#include "services/monitor/net_source.h"
#include "services/monitor/net_store.h"

namespace ipcrpc::monitor {

// The namespace of this process, and others if wanted, each read by a thread of its own.
class LocalNetwork final : public NetSource {
 public:
  struct Options {
    std::vector<NetnsPlace> netns;
    // Of each namespace's.
    NetCollector::Options collector;
    // Called when all sockets are open, before anything is read and before there is a thread; an error ends it.
    std::function<absl::Status()> opened;
  };

  // Adds the namespaces to the store, and reads their whole state before it returns. `report` is told, on any thread,
  // when the kernel refuses to list, which is tried again.
  static absl::StatusOr<std::unique_ptr<LocalNetwork>> Open(NetStore* store, const Options& options,
                                                            std::function<void(const absl::Status&)> report);

  // Whoever comes while another reads waits, and has what the other has read.
  absl::Status RefreshNeighbors(const std::vector<size_t>& netns) override;
  absl::Status Configure(const NetSettings& settings) override;
  absl::Status Resync() override;
  absl::StatusOr<v1::LinkStatsReply> LinkStats(const v1::LinkStatsRequest& request) override;
  std::vector<v1::CollectorStats> Stats() override;
  std::string warning() const override { return spaces_.front()->collector->warning(); }

 private:
  struct Space {
    explicit Space(OpenNetns opened) : netns(std::move(opened)) {}
    const OpenNetns netns;
    std::unique_ptr<NetCollector> collector;
    std::unique_ptr<NetCollectorThread> thread;
    std::mutex refresh_mu;
    NetCollector::Clock::time_point next_refresh{};
    std::mutex stats_mu;
    // For counters alone, so that nobody waits for a list; opened with the collector.
    std::optional<NetlinkQuery> stats_query;
  };

  explicit LocalNetwork(NetStore* store) : store_(store) {}
  absl::Status OpenSpaces(const std::vector<NetnsPlace>& netns, NetCollector::Options options);

  NetStore* const store_;
  std::mutex settings_mu_;
  NetSettings settings_;  // as they are
  std::vector<std::unique_ptr<Space>> spaces_;
};

}  // namespace ipcrpc::monitor
