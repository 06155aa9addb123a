#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/statusor.h"
#include "services/monitor/net_filter.h"
#include "services/monitor/net_store.h"

namespace ipcrpc::monitor {

// One reader of the stream of events. One thread at a time may use it, except that a stop request and
// the ready callback may come from any. The store must outlive it.
//
// It keeps its place in the store's history, not a queue of its own: who is slow costs nobody anything. Whose
// place has left the history is told how much was missed, and begins again from the state.
class NetWatcher {
 public:
  ~NetWatcher();
  NetWatcher(const NetWatcher&) = delete;
  NetWatcher& operator=(const NetWatcher&) = delete;

  // The next event, waiting for it.
  // DEADLINE_EXCEEDED: none came by then; call again. CANCELLED: `stop` was requested. UNAVAILABLE: the store
  // was closed.
  absl::StatusOr<EventPtr> Next(std::stop_token stop, NetStore::SteadyTime deadline);

  // The same without waiting: null when there is none now.
  absl::StatusOr<EventPtr> TryNext();

  // `ready` is called, from the writer's thread, after there may be something new for TryNext, and when
  // the store is closed. It must not block and must not destroy a watcher; it is not called, nor still
  // running, once OnReady(nullptr) or the destructor has returned. Look with TryNext after setting it.
  void OnReady(std::function<void()> ready);

 private:
  friend class NetStore;
  NetWatcher(NetStore* store, NetFilter filter, std::vector<bool> spaces, std::chrono::nanoseconds bookmark_interval);

  // With the store's lock held.
  void BeginState(v1::NetEvent::Action end);
  void Fill();
  // What its namespaces' lists say of themselves now.
  void NoteMarks();
  // Of its own, not of the history.
  EventPtr Mark(v1::NetEvent::Action action, uint64_t revision, size_t netns);
  EventPtr Bookmark();
  // Puts the next of the state into ready_, or its end.
  void TellState();

  NetStore* const store_;
  const NetFilter filter_;
  const std::vector<bool> spaces_;  // by number of the namespace: wanted
  const std::chrono::nanoseconds bookmark_interval_;  // 0: none
  // A few events, taken out of the history at once.
  std::deque<EventPtr> ready_;
  // The state not yet told in full, how far it is, and what stands at its end: BOOKMARK or RESYNC.
  std::shared_ptr<const NetStore::State> state_;
  size_t state_netns_ = 0, state_index_ = 0;
  v1::NetEvent::Action state_end_ = v1::NetEvent::BOOKMARK;
  // As of told_.
  bool consistent_ = true;
  bool stale_ = false;
  // Everything up to this revision is in ready_ or has been told, once the state has.
  uint64_t told_ = 0;
  // The first BOOKMARK comes after this one; later ones when they are due.
  uint64_t bookmark_at_ = 0;
  bool bookmark_told_ = false;
  uint64_t bookmarked_ = 0;
  NetStore::SteadyTime next_bookmark_{};
};

}  // namespace ipcrpc::monitor
