#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "services/monitor/local_network.h"
#include "services/monitor/net_source.h"
#include "services/monitor/net_store.h"

namespace ipcrpc::monitor {

// The state of the network, and what keeps it: what the handlers of NetEvents call. Any thread may call. Watchers must
// be gone before it is; Shutdown ends them.
class NetMonitor {
 public:
  struct Options : LocalNetwork::Options {
    NetStore::Options store;
  };

  // What opens the source adds further namespaces to the store, and has the whole state in it when it returns.
  using OpenSource = std::function<absl::StatusOr<std::unique_ptr<NetSource>>(NetStore*)>;
  static absl::StatusOr<std::unique_ptr<NetMonitor>> Start(const NetStore::Options& options, const OpenSource& open);
  // With this process as its source: see LocalNetwork.
  static absl::StatusOr<std::unique_ptr<NetMonitor>> Start(const Options& options,
                                                           std::function<void(const absl::Status&)> report);
  ~NetMonitor();

  // As NetStore's. Where neighbours are asked for as they are now, they are read anew first.
  absl::StatusOr<v1::ListReply> List(const v1::ListRequest& request);
  absl::StatusOr<std::unique_ptr<NetWatcher>> Watch(const v1::WatchRequest& request);

  absl::StatusOr<v1::LinkStatsReply> LinkStats(const v1::LinkStatsRequest& request);
  v1::StatsReply Stats() const;

  // Everything in the daemon's own namespace, as far as it is known without asking the kernel.
  v1::ListReply Known();

  // Of those given by number, which there are.
  absl::Status RefreshNeighbors(const std::vector<size_t>& netns) { return source_->RefreshNeighbors(netns); }
  // As NetSource's. INVALID_ARGUMENT: the verify interval is longer than a year.
  absl::Status Configure(const NetSettings& settings);
  absl::Status Resync() { return source_->Resync(); }
  const NetStore& store() const { return store_; }

  // Ends all watchers with UNAVAILABLE.
  void Shutdown() { store_.Close(); }

  std::string warning() const { return source_->warning(); }

 private:
  explicit NetMonitor(const NetStore::Options& options) : store_(options) {}
  template <typename Request>
  absl::Status RefreshFor(const Request& request, const std::function<bool(const std::string& netns)>& wanted);

  NetStore store_;
  std::unique_ptr<NetSource> source_;
};

}  // namespace ipcrpc::monitor
