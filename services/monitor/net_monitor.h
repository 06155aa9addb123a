#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "services/monitor/net_collector.h"
#include "services/monitor/net_store.h"

namespace ipcrpc::monitor {

// The network of this process's namespace, and of others if wanted, each kept up to date by a thread of its own:
// what the handlers of NetEvents call. Any thread may call. Watchers must be gone before it is; Shutdown ends them.
class NetMonitor {
 public:
  struct Options {
    // Further namespaces: names or paths, as FindNetns takes them.
    std::vector<std::string> netns;
    NetStore::Options store;
    // Of each namespace's.
    NetCollector::Options collector;
  };

  // Reads the whole state before it returns. `report` is told, on any thread, when the kernel
  // refuses to list, which is tried again.
  static absl::StatusOr<std::unique_ptr<NetMonitor>> Start(const Options& options,
                                                           std::function<void(const absl::Status&)> report);
  ~NetMonitor();

  // As NetStore's. Where neighbours are asked for as they are now, they are read anew first (at most ten times a
  // second), as the kernel keeps to itself some of what they go through.
  absl::StatusOr<v1::ListReply> List(const v1::ListRequest& request);
  absl::StatusOr<std::unique_ptr<NetWatcher>> Watch(const v1::WatchRequest& request);

  absl::StatusOr<v1::LinkStatsReply> LinkStats(const v1::LinkStatsRequest& request);
  v1::StatsReply Stats() const;

  // Everything in the daemon's own namespace, as far as it is known without asking the kernel.
  v1::ListReply Known();
  // As NetStore's.
  bool AwaitChange(uint64_t revision, std::stop_token stop, NetStore::SteadyTime deadline) const {
    return store_.AwaitChange(revision, std::move(stop), deadline);
  }

  // Ends all watchers with UNAVAILABLE.
  void Shutdown() { store_.Close(); }

  // What an operator should know from the start; empty when all is well.
  const std::string& warning() const { return spaces_.front()->collector->warning(); }

  // Of the daemon's own namespace.
  NetCollector::Stats stats() const { return spaces_.front()->collector->stats(); }

 private:
  struct Space {
    explicit Space(OpenNetns opened) : netns(std::move(opened)) {}
    const OpenNetns netns;
    std::unique_ptr<NetCollector> collector;
    std::unique_ptr<NetCollectorThread> thread;
    std::mutex refresh_mu;
    NetCollector::Clock::time_point next_refresh{};
    std::mutex stats_mu;
    // For counters alone, so that nobody waits for a list; opened when it is first needed.
    std::optional<NetlinkQuery> stats_query;
  };

  explicit NetMonitor(const NetStore::Options& options) : store_(options) {}
  absl::Status Open(const Options& options);
  template <typename Request>
  absl::Status RefreshFor(const Request& request, const std::function<bool(const std::string& netns)>& wanted);
  static absl::Status Refresh(Space& space);

  NetStore store_;
  std::vector<std::unique_ptr<Space>> spaces_;
};

}  // namespace ipcrpc::monitor
