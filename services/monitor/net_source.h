#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/net_events.pb.h"

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

struct NetSettings {
  // See NetCollector::Options.
  std::chrono::milliseconds verify_interval{60'000};
  // Nothing is taken in, and the store says that it is stale.
  bool paused = false;
  bool operator==(const NetSettings&) const = default;
};

// What keeps a NetStore in agreement with the kernel: collectors in this process (LocalNetwork), or another process
// (NetReplica). Any thread may call. It writes until it is destroyed, which is before the store is.
class NetSource {
 public:
  virtual ~NetSource() = default;

  // Reads the neighbours of these namespaces anew, as the kernel keeps to itself some of what they go through (at most
  // ten times a second); afterwards the store has them. An error is the kernel's; where nobody can be asked, the store
  // says that it is stale.
  virtual absl::Status RefreshNeighbors(const std::vector<size_t>& netns) = 0;

  // Hold from now on, also where nobody can be asked now. An error is the kernel's, or UNAVAILABLE when what came of it is
  // not in the store yet.
  virtual absl::Status Configure(const NetSettings& settings) = 0;

  // Reads everything anew; afterwards the store has it. FAILED_PRECONDITION: it is paused. UNAVAILABLE: nobody can be asked.
  virtual absl::Status Resync() = 0;

  // The request names interfaces that the store may have, and a namespace that it has.
  virtual absl::StatusOr<v1::LinkStatsReply> LinkStats(const v1::LinkStatsRequest& request) = 0;

  // Of each namespace.
  virtual std::vector<v1::CollectorStats> Stats() = 0;

  // What an operator should know from the start; empty when all is well.
  virtual std::string warning() const = 0;
};

}  // namespace ipcrpc::monitor
