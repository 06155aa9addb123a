#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/net_events.pb.h"
#include "services/monitor/net_filter.h"
#include "services/monitor/net_history.h"
#include "services/monitor/net_table.h"

// The state of the network under one revision counter, and the history of its changes: what the NetEvents
// service answers from. Of one or several network namespaces, each written by one collector; any number of
// readers.

namespace ipcrpc::monitor {

class NetWatcher;

// Any thread may call. Watchers must be gone before it is.
class NetStore {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  struct Options {
    // History kept for watchers: whichever limit is reached first. The bytes are those of the messages; in
    // memory they are some times that.
    size_t history_events_max = 16384;
    size_t history_bytes_max = 8 << 20;
    // Lists held for page tokens; a further one takes the place of the oldest.
    size_t pages_max = 64;
    std::chrono::milliseconds page_hold{30'000};
    // Inode of the network namespace that the events are of; 0 = that of the calling thread.
    uint64_t netns_inode = 0;
    std::function<SteadyTime()> now = [] { return std::chrono::steady_clock::now(); };
  };

  // Revisions begin at the wall clock's microseconds, so that those of an earlier instance are too old.
  NetStore();
  explicit NetStore(Options options);

  // A further namespace, beside that of the daemon, which is number 0; its number. Before anybody reads.
  size_t AddNetns(v1::NetNs netns);

  // The errors are those that the proto names.
  absl::StatusOr<v1::ListReply> List(const v1::ListRequest& request);
  absl::StatusOr<std::unique_ptr<NetWatcher>> Watch(const v1::WatchRequest& request);

  uint64_t revision() const;
  // Changes with every event, and with what lists say of themselves (consistent, stale).
  struct Position {
    uint64_t revision = 0;
    uint64_t marks = 0;
    bool operator==(const Position&) const = default;
  };
  Position position() const;
  // What a Watch can go on from.
  v1::RevisionRange range() const;
  // Of the namespace with that number.
  const v1::NetNs& netns(size_t number) const { return spaces_[number]->netns; }

  // Waits until position() is another, or the store is closed. False: it was not by then, or `stop` was requested.
  bool AwaitChange(const Position& position, std::stop_token stop, SteadyTime deadline) const;
  bool closed() const { return closed_; }

  size_t netns_count() const { return spaces_.size(); }

  // What a replica is made from.
  struct News {
    Position position;
    struct Mark {
      bool consistent, stale;
    };
    std::vector<Mark> marks;  // by number of the namespace
    // The changes after the revision asked for, oldest first, `position` being behind them; or, where they are not all
    // kept, the state, by number of the namespace.
    std::vector<ChangePtr> changes;
    std::optional<std::vector<ObjectMap>> state;
  };
  // So many changes at most. Absent: nothing was taken in so far.
  News NewsSince(std::optional<uint64_t> revision, size_t changes_max) const;

  // Ends all watchers, now and later, with UNAVAILABLE. For shutdown.
  void Close();

  // For the writer, which alone changes that namespace: see NetTable. Readers go on meanwhile.
  Replacement Compare(size_t netns, std::string_view prefix, std::vector<NetItem> items) const {
    return spaces_[netns]->table.Compare(prefix, std::move(items));
  }
  // The same for the writer of a replica.
  ObjectTable::Unlike CompareAll(size_t netns, std::vector<KeyedObject> objects) const {
    return spaces_[netns]->table.CompareAll(std::move(objects));
  }

  // The writer's side. Between construction and destruction readers wait; watchers are woken once, after
  // it. One at a time.
  class Writer {
   public:
    explicit Writer(NetStore* store, size_t netns = 0);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    void Apply(ParsedMessage message);
    // `consistent` false: the list is of no one moment. Until the same prefix is replaced by one that is, so is
    // the state. Absent: a piece of a list, whose last one says it.
    void Replace(Replacement replacement, std::optional<bool> consistent = true);
    // Of a replica, beside or instead of the two above: see ObjectTable.
    void Put(const std::string& key, v1::NetObject object, const std::string& old_key = "");
    void Erase(const std::string& key);
    // Whether the store that this is a replica of calls its state one of no one moment. No event.
    void SetDoubt(bool doubt);
    // Events of their own: notifications were lost, or (stale) nobody listens to them; state and kernel agree again.
    void Overrun(bool stale = false);
    void Resync();
    // What was told last.
    bool in_gap() const { return store_->spaces_[netns_]->in_gap; }
    bool stale() const { return store_->spaces_[netns_]->stale; }
    bool loaded() const { return store_->spaces_[netns_]->loaded; }
    // Until then what is taken in is the initial state: no events, no history.
    void FinishInitialLoad();

    const Suspects& suspects() const { return suspects_; }

   private:
    NetStore* const store_;
    const size_t netns_;
    std::unique_lock<std::mutex> lock_;
    const NetTable::Emit emit_;
    Suspects suspects_;
    const Position before_;
  };

 private:
  friend class NetWatcher;

  // One network namespace.
  struct Space {
    v1::NetNs netns;
    NetTable table;
    bool loaded = false;
    // Between OVERRUN and RESYNC.
    bool in_gap = false;
    // In a gap, as nobody listens.
    bool stale = false;
    // Key prefixes of what was read while it changed.
    std::set<std::string> doubts;
    bool consistent() const { return !in_gap && doubts.empty(); }
  };

  // Everything at one revision: shared by all who begin with it.
  struct State {
    uint64_t revision;
    // By number of the namespace; each ordered by key.
    std::vector<std::vector<ObjectPtr>> objects;
  };

  // What a page token stands for.
  struct HeldList {
    uint64_t id = 0;
    uint64_t revision = 0;
    bool consistent = true;
    bool stale = false;
    size_t netns = 0;
    std::vector<ObjectPtr> objects;
    std::string request;  // without its page token, serialised.
    SteadyTime expires;
  };

  // With mu_ held.
  std::shared_ptr<const State> StateLocked();
  absl::StatusOr<std::vector<ObjectPtr>> ObjectsAt(uint64_t revision, size_t netns, const NetFilter& filter,
                                                   std::unique_lock<std::mutex>* lock);
  absl::StatusOr<v1::ListReply> NextPage(const v1::ListRequest& request);
  v1::ListReply Page(HeldList* held, size_t offset, uint32_t page_size);
  void DropExpired();
  void Record(size_t netns, Difference difference, bool consistent = true);
  void Doubt(Space& space, const std::string& prefix);
  Position PositionLocked() const { return {history_.revision(), marks_}; }
  const EventPtr& EventLocked(uint64_t revision);
  v1::RevisionRange RangeLocked() const;
  absl::Status OutOfRange(const char* what, uint64_t revision) const;

  // Any time: spaces_ does not change once there are readers, and each Space::netns never does.
  absl::StatusOr<size_t> FindNetns(const std::string& name) const;

  const Options options_;
  std::vector<std::unique_ptr<Space>> spaces_;
  std::atomic<bool> closed_{false};

  mutable std::mutex mu_;
  mutable std::condition_variable_any changed_;
  // Guarded by mu_.
  NetHistory history_;
  uint64_t marks_ = 0;
  std::weak_ptr<const State> state_;
  std::list<HeldList> held_;
  uint64_t next_list_id_;

  // Callbacks run under this, without mu_.
  std::mutex listeners_mu_;
  std::map<const NetWatcher*, std::function<void()>> listeners_;
};

}  // namespace ipcrpc::monitor

#include "services/monitor/net_watcher.h"  // whoever has a store watches it
