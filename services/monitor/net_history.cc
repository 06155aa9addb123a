#include "services/monitor/net_history.h"

#include <time.h>

#include <utility>

#include "services/monitor/net_filter.h"

namespace ipcrpc::monitor {
namespace {

int64_t ClockNs(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

size_t BytesOf(const Difference& difference) {
  return sizeof(Change) + (difference.now ? difference.now->ByteSizeLong() : 0) +
         (difference.old ? difference.old->ByteSizeLong() : 0) + difference.key.size() + difference.old_key.size();
}

}  // namespace

void NetHistory::Add(Change change) {
  change.revision = ++revision_;
  const size_t bytes = BytesOf(change.difference);
  bytes_ += bytes;
  changes_.push_back({std::make_shared<Change>(std::move(change)), bytes});
  while (changes_.size() > changes_max_ || (bytes_ > bytes_max_ && changes_.size() > 1)) {
    bytes_ -= changes_.front().bytes;
    changes_.pop_front();
  }
}

std::vector<ChangePtr> NetHistory::After(uint64_t revision) const {
  std::vector<ChangePtr> after;
  after.reserve(revision_ - revision);
  for (uint64_t next = revision + 1; next <= revision_; ++next) after.push_back(At(next));
  return after;
}

void Undo(const std::vector<ChangePtr>& changes, size_t netns, ObjectMap* objects) {
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    if ((*change)->netns != netns) continue;
    const Difference& difference = (*change)->difference;
    switch (difference.action) {
      case v1::NetEvent::ADDED: objects->erase(difference.key); break;
      case v1::NetEvent::REMOVED: (*objects)[difference.key] = difference.now; break;
      case v1::NetEvent::CHANGED:
        if (!difference.old_key.empty()) objects->erase(difference.key);
        (*objects)[difference.old_key.empty() ? difference.key : difference.old_key] = difference.old;
        break;
      default: break;
    }
  }
}

v1::NetEvent EventOf(const Change& change, const v1::NetNs& netns) {
  v1::NetEvent event;
  event.set_revision(change.revision);
  event.set_action(change.difference.action);
  if (change.difference.now) SetObject(*change.difference.now, &event);
  if (change.difference.old) *event.mutable_old() = *change.difference.old;
  for (const std::string& field : change.difference.changed) event.add_changed(field);
  *event.mutable_netns() = netns;
  event.mutable_time()->set_seconds(change.realtime_ns / 1'000'000'000);
  event.mutable_time()->set_nanos(static_cast<int32_t>(change.realtime_ns % 1'000'000'000));
  event.set_monotonic_ns(static_cast<uint64_t>(change.monotonic_ns));
  if (change.difference.action == v1::NetEvent::RESYNC || change.difference.action == v1::NetEvent::BOOKMARK) {
    event.set_consistent(change.consistent);
  }
  if (change.stale) event.set_stale(true);
  return event;
}

void Stamp(Change* change) {
  change->realtime_ns = ClockNs(CLOCK_REALTIME);
  change->monotonic_ns = ClockNs(CLOCK_MONOTONIC);
}

}  // namespace ipcrpc::monitor
