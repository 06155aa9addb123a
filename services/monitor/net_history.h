#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/monitor/v1/net_events.pb.h"
#include "services/monitor/net_table.h"

// The last changes, one for each revision, without gaps. No thread of its own, no lock.

namespace ipcrpc::monitor {

using EventPtr = std::shared_ptr<const v1::NetEvent>;

// One change as kept. Immutable but for `event`.
struct Change {
  uint64_t revision = 0;
  // Which namespace, as the store numbers them.
  size_t netns = 0;
  Difference difference;
  bool consistent = true;  // of RESYNC
  bool stale = false;      // of OVERRUN and RESYNC
  int64_t realtime_ns = 0;
  int64_t monotonic_ns = 0;
  // Made when it is first told, as in a storm there may be nobody to tell.
  EventPtr event;
};
using ChangePtr = std::shared_ptr<Change>;

class NetHistory {
 public:
  // Whichever limit is reached first; the newest change is always kept.
  NetHistory(uint64_t revision, size_t changes_max, size_t bytes_max)
      : changes_max_(changes_max), bytes_max_(bytes_max), revision_(revision) {}

  // The next revision's.
  void Add(Change change);

  uint64_t revision() const { return revision_; }
  // Everything after this revision is there.
  uint64_t oldest() const { return revision_ - changes_.size(); }
  // For oldest() < revision <= revision().
  const ChangePtr& At(uint64_t revision) const { return changes_[revision - oldest() - 1].change; }
  // Those after `revision`, which is not before oldest(); oldest first.
  std::vector<ChangePtr> After(uint64_t revision) const;

 private:
  struct Kept {
    ChangePtr change;
    size_t bytes;
  };

  const size_t changes_max_;
  const size_t bytes_max_;
  uint64_t revision_;
  std::deque<Kept> changes_;
  size_t bytes_ = 0;
};

// Takes back the changes of that namespace, the newest first: `objects` is what it was before them.
void Undo(const std::vector<ChangePtr>& changes, size_t netns, ObjectMap* objects);

// What a watcher is told of a change.
v1::NetEvent EventOf(const Change& change, const v1::NetNs& netns);

// The two clocks, at this moment.
void Stamp(Change* change);

}  // namespace ipcrpc::monitor
