#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/monitor/net_filter.h"

// A watcher's side of NetEvents/Watch: the state that a stream of events tells.

namespace ipcrpc::monitor {

class NetView {
 public:
  // INVALID_ARGUMENT: the request's filters are not as they should be.
  static absl::StatusOr<NetView> For(const v1::WatchRequest& request);

  // Before the events of a watch with since_revision: the list of that revision, all its pages.
  void Begin(const v1::ListReply& list);

  // Takes in the next event of the stream. DATA_LOSS: it does not follow on what came before: a revision
  // runs backwards, or what changes or goes was never told.
  absl::Status Apply(const v1::NetEvent& event);

  // The revision that the view shows, once it is complete.
  uint64_t revision() const { return revision_; }
  // False until the first BOOKMARK, and from an OVERRUN with `missed` to its RESYNC: objects are not all there.
  bool complete() const { return complete_; }
  // What the last BOOKMARK or RESYNC said.
  bool consistent() const { return consistent_; }
  // Nobody listens to the kernel, as the stream said last.
  bool stale() const { return stale_; }
  // Changes that were not told to this watcher, as the daemon counted them.
  uint64_t missed() const { return missed_; }

  // In no particular order.
  std::vector<v1::NetObject> objects() const;
  size_t size() const { return size_; }

 private:
  explicit NetView(NetFilter filter) : filter_(std::move(filter)) {}
  struct Held {
    v1::NetObject object;
    int count = 0;
  };

  void Add(const v1::NetNs& netns, const v1::NetObject& object);
  absl::Status Take(const v1::NetEvent& event, const v1::NetObject& object);

  NetFilter filter_;
  // By namespace and serialised object: several routes may be alike in everything that is told of them.
  std::map<std::string, Held> objects_;
  size_t size_ = 0;
  uint64_t revision_ = 0;
  bool began_ = false;
  bool complete_ = false;
  bool restarting_ = false;
  bool consistent_ = true;
  bool stale_ = false;
  uint64_t missed_ = 0;
};

}  // namespace ipcrpc::monitor
