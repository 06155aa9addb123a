#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/net_events.pb.h"
#include "services/monitor/net_table.h"

// The state of the network under one revision counter, and the history of its changes: what the NetEvents
// service answers from. One writer (the collector), any number of readers.

namespace ipcrpc::monitor {

using EventPtr = std::shared_ptr<const v1::NetEvent>;

class NetWatcher;

// Any thread may call. Watchers must be gone before it is.
class NetStore {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  struct Options {
    // History kept for watchers: whichever limit is reached first.
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

  // INVALID_ARGUMENT: no such page token, or not for this request. ABORTED: it has expired.
  absl::StatusOr<v1::ListReply> List(const v1::ListRequest& request);

  // OUT_OF_RANGE: since_revision is not in the history.
  absl::StatusOr<std::unique_ptr<NetWatcher>> Watch(const v1::WatchRequest& request);

  uint64_t revision() const;

  // Waits until revision() is another. False: it was not by then, or `stop` was requested.
  bool AwaitChange(uint64_t revision, std::stop_token stop, SteadyTime deadline) const;

  // Ends all watchers, now and later, with UNAVAILABLE. For shutdown.
  void Close();

  // The writer's side. Between construction and destruction readers wait; watchers are woken once, after
  // it. One at a time.
  class Writer {
   public:
    explicit Writer(NetStore* store);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    void Apply(ParsedMessage message);
    void Replace(std::string_view prefix, std::vector<NetItem> items);
    // Events of their own: notifications were lost; state and kernel agree again.
    void Overrun();
    void Resync();
    // Until then what is taken in is the initial state: no events, no history.
    void FinishInitialLoad();

    const Suspects& suspects() const { return suspects_; }

   private:
    NetStore* const store_;
    std::unique_lock<std::mutex> lock_;
    const NetTable::Emit emit_;
    Suspects suspects_;
    const uint64_t revision_before_;
  };

 private:
  friend class NetWatcher;

  // What a page token stands for.
  struct HeldList {
    uint64_t id;
    uint64_t revision;
    std::vector<ObjectPtr> objects;
    std::string request;  // kinds, dev and page_size, serialised.
    SteadyTime expires;
  };

  std::vector<ObjectPtr> Select(const std::function<bool(const v1::NetObject&)>& which) const;
  absl::StatusOr<v1::ListReply> NextPage(const v1::ListRequest& request);
  v1::ListReply Page(HeldList* held, size_t offset, uint32_t page_size);
  void DropExpired();
  void Record(v1::NetEvent event);
  // What stands in every event.
  void Stamp(v1::NetEvent* event) const;
  // The event of that revision; only for revisions in (first - 1, revision_].
  const EventPtr& EventAt(uint64_t revision) const;
  uint64_t oldest_resumable() const { return revision_ - history_.size(); }

  const Options options_;
  const uint64_t netns_inode_;

  mutable std::mutex mu_;
  mutable std::condition_variable_any changed_;
  // Guarded by mu_.
  NetTable table_;
  uint64_t revision_;
  bool loaded_ = false;
  bool closed_ = false;
  // The events of the last history_.size() revisions, without gaps.
  std::deque<EventPtr> history_;
  size_t history_bytes_ = 0;
  std::list<HeldList> held_;
  uint64_t next_list_id_;

  // Callbacks run under this, without mu_.
  std::mutex listeners_mu_;
  std::map<const NetWatcher*, std::function<void()>> listeners_;
};

// One reader of the stream of events. One thread at a time may use it, except that a stop request and
// the ready callback may come from any. The store must outlive it.
class NetWatcher {
 public:
  ~NetWatcher();
  NetWatcher(const NetWatcher&) = delete;
  NetWatcher& operator=(const NetWatcher&) = delete;

  // The next event, waiting for it.
  // DEADLINE_EXCEEDED: none came by then; call again. CANCELLED: `stop` was requested. OUT_OF_RANGE: the
  // watcher fell behind by more than the history. UNAVAILABLE: the store was closed.
  absl::StatusOr<EventPtr> Next(std::stop_token stop, NetStore::SteadyTime deadline);

  // The same without waiting: null when there is none now.
  absl::StatusOr<EventPtr> TryNext();

  // `ready` is called, from the writer's thread, after there may be something new for TryNext, and when
  // the store is closed. It must not block and must not destroy a watcher; it is not called, nor still
  // running, once OnReady(nullptr) or the destructor has returned. Look with TryNext after setting it.
  void OnReady(std::function<void()> ready);

 private:
  friend class NetStore;
  NetWatcher(NetStore* store, const v1::WatchRequest& request);

  bool Wanted(const v1::NetEvent& event) const;
  bool Wanted(const v1::NetObject& object) const;
  // With the store's lock held.
  absl::StatusOr<EventPtr> NextLocked();

  NetStore* const store_;
  const v1::WatchRequest request_;
  // The state at the beginning, not yet told; then a BOOKMARK.
  std::deque<ObjectPtr> initial_;
  uint64_t bookmark_at_ = 0;
  bool bookmark_told_ = false;
  // Everything up to this revision has been told.
  uint64_t told_ = 0;
};

}  // namespace ipcrpc::monitor
