// The source of a NetStore that is a replica of a collector's, in another process.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "ipcrpc/channel.h"
#include "ipcrpc/monitor/v1/collector_control.ipcrpc.pb.h"
#include "ipcrpc/monitor/v1/net_events.ipcrpc.pb.h"
#include "services/monitor/net_source.h"
#include "services/monitor/net_store.h"

namespace ipcrpc::monitor {

// Follows whoever answers at the channel, one after the other. While nobody does, the store is stale; the next one's state
// goes in as what is different, so that the store's own revisions go on. What a collector says is checked: one that makes
// no sense is left, and followed again after a while.
class NetReplica final : public NetSource {
 public:
  struct Options {
    // Further namespaces, in the order in which the collector was told of them.
    std::vector<v1::NetNs> netns = {};
    NetSettings settings = {};
    // How long Open() waits for the first state.
    std::chrono::milliseconds patience{10'000};
  };

  // What is to be told to whoever runs the daemon, on a thread of its own: when a collector is lost, and (OK) when one is
  // there again; and what it says itself (an error that it goes on with).
  using Report = std::function<void(const absl::Status&)>;

  // Adds the namespaces to the store and reads the whole state before it returns.
  static absl::StatusOr<std::unique_ptr<NetReplica>> Open(NetStore* store, const Options& options,
                                                          const std::shared_ptr<Channel>& channel, Report report);
  ~NetReplica() override;

  absl::Status RefreshNeighbors(const std::vector<size_t>& netns) override;
  absl::Status Configure(const NetSettings& settings) override;
  absl::Status Resync() override;
  // Where nobody answers, waits for the next collector for a moment; then UNAVAILABLE.
  absl::StatusOr<v1::LinkStatsReply> LinkStats(const v1::LinkStatsRequest& request) override;
  // Where nobody answers, those that were told last.
  std::vector<v1::CollectorStats> Stats() override;
  std::string warning() const override;

 private:
  NetReplica(NetStore* store, const NetSettings& settings, const std::shared_ptr<Channel>& channel, Report report);

  void Run(std::stop_token stop);
  // Until the stream ends, or makes no sense.
  absl::Status Follow(std::stop_token stop);
  absl::Status Check(const v1::FollowReply& reply) const;
  void Take(v1::FollowReply* reply);
  void TakeState();
  void TakeChanges(v1::FollowReply* reply);
  void MarkStale();
  void SetWarning(const std::string& warning);
  // Makes the call, if there is a collector, and waits until what it changed is in the store. UNAVAILABLE: there is none,
  // or it was lost before that.
  using Call = std::function<Status(ClientContext*, v1::CollectorPosition*)>;
  absl::Status Ask(const Call& call);

  NetStore* const store_;
  const std::unique_ptr<v1::CollectorControl::Stub> control_;
  const std::unique_ptr<v1::NetEvents::Stub> events_;
  const Report report_;

  // The follower's own.
  std::vector<std::vector<KeyedObject>> state_;  // by number of the namespace, until it is complete
  size_t state_size_ = 0;
  bool expects_state_ = false;
  std::vector<v1::FollowedNetns> marks_;  // told last

  mutable std::mutex mu_;
  std::condition_variable_any changed_;
  // Of the collector that is followed, whose state the store has; absent: there is none.
  std::optional<uint64_t> followed_;
  NetSettings settings_;
  // How many were followed.
  uint64_t collectors_ = 0;
  absl::Status problem_;
  std::string warning_;
  std::vector<v1::CollectorStats> stats_;

  std::jthread thread_;
};

}  // namespace ipcrpc::monitor
