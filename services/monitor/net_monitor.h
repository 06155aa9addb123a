#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <utility>

#include "absl/status/statusor.h"
#include "services/monitor/net_collector.h"
#include "services/monitor/net_store.h"

namespace ipcrpc::monitor {

// The network of this process's namespace, kept up to date by a thread of its own: what the handlers of
// NetEvents call. Any thread may call. Watchers must be gone before it is; Shutdown ends them.
class NetMonitor {
 public:
  // Reads the whole state before it returns. `report` is told, on the thread, when the kernel refuses to
  // list, which is tried again.
  static absl::StatusOr<std::unique_ptr<NetMonitor>> Start(std::function<void(const absl::Status&)> report);
  ~NetMonitor();

  // As NetStore's. Where neighbours are asked for, they are read anew first (at most ten times a second),
  // as the kernel keeps to itself some of what they go through.
  absl::StatusOr<v1::ListReply> List(const v1::ListRequest& request);
  absl::StatusOr<std::unique_ptr<NetWatcher>> Watch(const v1::WatchRequest& request);

  // Everything, as far as it is known without asking the kernel.
  v1::ListReply Known();
  // As NetStore's.
  bool AwaitChange(uint64_t revision, std::stop_token stop, NetStore::SteadyTime deadline) const {
    return store_.AwaitChange(revision, std::move(stop), deadline);
  }

  // Ends all watchers with UNAVAILABLE.
  void Shutdown() { store_.Close(); }

  NetCollector::Stats stats() const { return collector_->stats(); }

 private:
  NetMonitor() = default;
  template <typename Request>
  absl::Status RefreshFor(const Request& request);

  NetStore store_;
  std::unique_ptr<NetCollector> collector_;
  std::unique_ptr<NetCollectorThread> thread_;

  std::mutex refresh_mu_;
  NetCollector::Clock::time_point next_refresh_{};
};

}  // namespace ipcrpc::monitor
