#include "services/monitor/net_watcher.h"

#include <algorithm>
#include <utility>

namespace ipcrpc::monitor {
namespace {

// Taken out of the history at once.
constexpr size_t kBatch = 64;

}  // namespace

NetWatcher::NetWatcher(NetStore* store, NetFilter filter, std::vector<bool> spaces,
                       std::chrono::nanoseconds bookmark_interval)
    : store_(store),
      filter_(std::move(filter)),
      spaces_(std::move(spaces)),
      bookmark_interval_(bookmark_interval) {}

NetWatcher::~NetWatcher() { OnReady(nullptr); }

void NetWatcher::OnReady(std::function<void()> ready) {
  std::lock_guard lock(store_->listeners_mu_);
  if (ready) {
    store_->listeners_[this] = std::move(ready);
  } else {
    store_->listeners_.erase(this);
  }
}

absl::StatusOr<EventPtr> NetWatcher::Next(std::stop_token stop, NetStore::SteadyTime deadline) {
  for (;;) {
    absl::StatusOr<EventPtr> next = TryNext();
    if (!next.ok() || *next != nullptr) return next;
    std::unique_lock lock(store_->mu_);
    // A bookmark may fall due while nothing else happens.
    NetStore::SteadyTime until = deadline;
    if (bookmark_interval_.count() != 0 && told_ != bookmarked_) until = std::min(until, next_bookmark_);
    store_->changed_.wait_until(lock, stop, until,
                                [&] { return store_->closed_ || store_->history_.revision() != told_; });
    if (store_->closed_ || store_->history_.revision() != told_) continue;
    if (stop.stop_requested()) return absl::CancelledError("the watch was cancelled");
    if (std::chrono::steady_clock::now() >= deadline) return absl::DeadlineExceededError("no event yet");
  }
}

absl::StatusOr<EventPtr> NetWatcher::TryNext() {
  if (store_->closed_) return absl::UnavailableError("the monitor is shutting down");
  if (ready_.empty() && state_ != nullptr) TellState();
  if (ready_.empty()) {
    std::lock_guard lock(store_->mu_);
    Fill();
  }
  if (ready_.empty() && state_ != nullptr) TellState();
  if (ready_.empty()) return EventPtr();
  EventPtr next = std::move(ready_.front());
  ready_.pop_front();
  return next;
}

void NetWatcher::BeginState(v1::NetEvent::Action end) {
  state_ = store_->StateLocked();
  state_netns_ = state_index_ = 0;
  state_end_ = end;
  NoteMarks();
  told_ = state_->revision;
}

// Without the store's lock: what is shared does not change.
void NetWatcher::TellState() {
  for (; state_netns_ < state_->objects.size(); ++state_netns_, state_index_ = 0) {
    if (!spaces_[state_netns_]) continue;
    const auto& objects = state_->objects[state_netns_];
    while (state_index_ < objects.size()) {
      const ObjectPtr& object = objects[state_index_++];
      if (!filter_.Passes(*object)) continue;
      Change change;
      change.revision = told_;
      change.difference = {v1::NetEvent::ADDED, object, nullptr, {}, "", ""};
      Stamp(&change);
      ready_.push_back(std::make_shared<const v1::NetEvent>(EventOf(change, store_->netns(state_netns_))));
      return;
    }
  }
  state_.reset();
  if (state_end_ == v1::NetEvent::RESYNC) ready_.push_back(Mark(v1::NetEvent::RESYNC, told_, 0));
  if (!bookmark_told_) ready_.push_back(Bookmark());
}

void NetWatcher::Fill() {
  NetHistory& history = store_->history_;
  if (told_ < history.oldest()) {
    // Jumps over all there is, so that the way back to the present is as short as it can be.
    const uint64_t missed = history.revision() - told_;
    auto overrun = std::make_shared<v1::NetEvent>(*Mark(v1::NetEvent::OVERRUN, told_, 0));
    overrun->set_missed(missed);
    ready_.push_back(std::move(overrun));
    BeginState(v1::NetEvent::RESYNC);
    return;
  }
  const bool first = !bookmark_told_;
  const uint64_t end = first ? bookmark_at_ : history.revision();
  while (told_ < end && ready_.size() < kBatch) {
    const Change& change = *history.At(++told_);
    if (!spaces_[change.netns]) continue;
    if (change.difference.now == nullptr) {
      consistent_ = change.difference.action == v1::NetEvent::RESYNC && change.consistent;
      stale_ = change.stale;
    }
    if (change.difference.now != nullptr && !filter_.Passes(*change.difference.now, change.difference.old.get())) continue;
    ready_.push_back(store_->EventLocked(told_));
  }
  // What is said without an event, and of several namespaces.
  if (told_ == history.revision()) NoteMarks();
  if (first ? told_ == bookmark_at_
            : bookmark_interval_.count() != 0 && told_ != bookmarked_ &&
                  std::chrono::steady_clock::now() >= next_bookmark_) {
    ready_.push_back(Bookmark());
  }
}

void NetWatcher::NoteMarks() {
  consistent_ = true;
  stale_ = false;
  for (size_t number = 0; number < spaces_.size(); ++number) {
    if (!spaces_[number]) continue;
    consistent_ &= store_->spaces_[number]->consistent();
    stale_ |= store_->spaces_[number]->stale;
  }
}

EventPtr NetWatcher::Mark(v1::NetEvent::Action action, uint64_t revision, size_t netns) {
  Change change;
  change.revision = revision;
  change.difference.action = action;
  change.consistent = consistent_;
  change.stale = stale_;
  Stamp(&change);
  return std::make_shared<const v1::NetEvent>(EventOf(change, store_->netns(netns)));
}

EventPtr NetWatcher::Bookmark() {
  bookmark_told_ = true;
  bookmarked_ = told_;
  next_bookmark_ = std::chrono::steady_clock::now() + bookmark_interval_;
  return Mark(v1::NetEvent::BOOKMARK, told_, 0);
}

}  // namespace ipcrpc::monitor
