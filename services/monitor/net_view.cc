#include "services/monitor/net_view.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace ipcrpc::monitor {
namespace {

std::string Identity(const v1::NetNs& netns, const v1::NetObject& object) {
  return absl::StrCat(netns.inode(), " ", object.SerializeAsString());
}

absl::Status Broken(const v1::NetEvent& event, const std::string& why) {
  return absl::DataLossError(absl::StrCat("the stream of events is broken at revision ", event.revision(), ", ",
                                          v1::NetEvent::Action_Name(event.action()), ": ", why));
}

}  // namespace

absl::StatusOr<NetView> NetView::For(const v1::WatchRequest& request) {
  absl::StatusOr<NetFilter> filter = NetFilter::From(request);
  if (!filter.ok()) return filter.status();
  return NetView(*std::move(filter));
}

absl::Status NetView::Apply(const v1::NetEvent& event) {
  if (began_ && event.revision() < revision_) return Broken(event, absl::StrCat("after revision ", revision_));
  // Only of a state that is being told do several objects bear one revision.
  const bool change = event.object_case() != v1::NetEvent::OBJECT_NOT_SET;
  if (change && complete_ && event.revision() == revision_) return Broken(event, "the revision is told twice");
  began_ = true;
  revision_ = event.revision();
  const v1::NetObject now = ObjectOf(event);
  switch (event.action()) {
    case v1::NetEvent::ADDED:
      if (filter_.Passes(now)) Add(event.netns(), now);
      return absl::OkStatus();
    case v1::NetEvent::CHANGED:
      if (filter_.Passes(event.old())) {
        if (absl::Status status = Take(event, event.old()); !status.ok()) return status;
      }
      if (filter_.Passes(now)) Add(event.netns(), now);
      return absl::OkStatus();
    case v1::NetEvent::REMOVED: return filter_.Passes(now) ? Take(event, now) : absl::OkStatus();
    case v1::NetEvent::OVERRUN:
      stale_ = event.stale();
      if (event.missed() == 0) return absl::OkStatus();
      missed_ += event.missed();
      objects_.clear();
      size_ = 0;
      complete_ = false;
      restarting_ = true;
      return absl::OkStatus();
    case v1::NetEvent::RESYNC:
      complete_ |= std::exchange(restarting_, false);
      consistent_ = event.consistent();
      stale_ = event.stale();
      return absl::OkStatus();
    case v1::NetEvent::BOOKMARK:
      complete_ = true;
      consistent_ = event.consistent();
      stale_ = event.stale();
      return absl::OkStatus();
    default: return absl::OkStatus();  // of a newer daemon
  }
}

void NetView::Begin(const v1::ListReply& list) {
  for (const v1::NetObject& object : ObjectsOf(list)) {
    if (filter_.Passes(object)) Add(list.netns(), object);
  }
  revision_ = list.revision();
  consistent_ = list.consistent();
  began_ = complete_ = true;
}

void NetView::Add(const v1::NetNs& netns, const v1::NetObject& object) {
  Held& held = objects_[Identity(netns, object)];
  if (held.count++ == 0) held.object = object;
  ++size_;
}

absl::Status NetView::Take(const v1::NetEvent& event, const v1::NetObject& object) {
  auto held = objects_.find(Identity(event.netns(), object));
  if (held == objects_.end()) {
    return Broken(event, absl::StrCat("what it is about was not told: ", object.ShortDebugString()));
  }
  if (--held->second.count == 0) objects_.erase(held);
  --size_;
  return absl::OkStatus();
}

std::vector<v1::NetObject> NetView::objects() const {
  std::vector<v1::NetObject> objects;
  objects.reserve(size_);
  for (const auto& [identity, held] : objects_) objects.insert(objects.end(), static_cast<size_t>(held.count), held.object);
  return objects;
}

}  // namespace ipcrpc::monitor
