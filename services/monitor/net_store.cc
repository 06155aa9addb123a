#include "services/monitor/net_store.h"

#include <sys/stat.h>
#include <time.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace ipcrpc::monitor {
namespace {

int64_t ClockNs(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

uint64_t OwnNetns() {
  struct stat status;
  return stat("/proc/thread-self/ns/net", &status) == 0 ? status.st_ino : 0;
}

// The kinds of NetObject have the numbers of its fields.
v1::NetObject::Kind KindOf(const v1::NetObject& object) {
  return static_cast<v1::NetObject::Kind>(object.object_case());
}

// Whether kinds and dev of a ListRequest or WatchRequest let the object through.
template <typename Request>
bool Passes(const Request& request, const v1::NetObject& object) {
  const auto& kinds = request.kinds();
  if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), KindOf(object)) == kinds.end()) return false;
  const auto& devs = request.dev();
  return devs.empty() || std::any_of(devs.begin(), devs.end(),
                                     [&](const std::string& dev) { return BelongsTo(object, dev); });
}

void SetObject(const v1::NetObject& object, v1::NetEvent* event) {
  switch (object.object_case()) {
    case v1::NetObject::kLink: *event->mutable_link() = object.link(); break;
    case v1::NetObject::kAddress: *event->mutable_address() = object.address(); break;
    case v1::NetObject::kRoute: *event->mutable_route() = object.route(); break;
    case v1::NetObject::kNeighbor: *event->mutable_neighbor() = object.neighbor(); break;
    case v1::NetObject::kRule: *event->mutable_rule() = object.rule(); break;
    case v1::NetObject::OBJECT_NOT_SET: break;
  }
}

// The object of an event as a NetObject.
v1::NetObject ObjectOf(const v1::NetEvent& event) {
  v1::NetObject object;
  switch (event.object_case()) {
    case v1::NetEvent::kLink: *object.mutable_link() = event.link(); break;
    case v1::NetEvent::kAddress: *object.mutable_address() = event.address(); break;
    case v1::NetEvent::kRoute: *object.mutable_route() = event.route(); break;
    case v1::NetEvent::kNeighbor: *object.mutable_neighbor() = event.neighbor(); break;
    case v1::NetEvent::kRule: *object.mutable_rule() = event.rule(); break;
    case v1::NetEvent::OBJECT_NOT_SET: break;
  }
  return object;
}

void AddTo(const v1::NetObject& object, v1::ListReply* reply) {
  switch (object.object_case()) {
    case v1::NetObject::kLink: *reply->add_links() = object.link(); break;
    case v1::NetObject::kAddress: *reply->add_addresses() = object.address(); break;
    case v1::NetObject::kRoute: *reply->add_routes() = object.route(); break;
    case v1::NetObject::kNeighbor: *reply->add_neighbors() = object.neighbor(); break;
    case v1::NetObject::kRule: *reply->add_rules() = object.rule(); break;
    case v1::NetObject::OBJECT_NOT_SET: break;
  }
}

std::string RequestIdentity(v1::ListRequest request) {
  request.clear_page_token();
  return request.SerializeAsString();
}

std::string PageToken(uint64_t id, size_t offset) { return absl::StrCat(id, ".", offset); }

bool ParsePageToken(const std::string& token, uint64_t* id, size_t* offset) {
  std::vector<std::string> parts = absl::StrSplit(token, '.');
  return parts.size() == 2 && absl::SimpleAtoi(parts[0], id) && absl::SimpleAtoi(parts[1], offset);
}

}  // namespace

NetStore::NetStore() : NetStore(Options()) {}

NetStore::NetStore(Options options)
    : options_(std::move(options)),
      netns_inode_(options_.netns_inode != 0 ? options_.netns_inode : OwnNetns()),
      revision_(static_cast<uint64_t>(ClockNs(CLOCK_REALTIME) / 1000)),
      // Tokens of an earlier instance must not name lists of this one.
      next_list_id_(revision_) {}

uint64_t NetStore::revision() const {
  std::lock_guard lock(mu_);
  return revision_;
}

bool NetStore::AwaitChange(uint64_t revision, std::stop_token stop, SteadyTime deadline) const {
  std::unique_lock lock(mu_);
  return changed_.wait_until(lock, std::move(stop), deadline, [&] { return revision_ != revision; });
}

void NetStore::Close() {
  {
    std::lock_guard lock(mu_);
    closed_ = true;
  }
  changed_.notify_all();
  std::lock_guard lock(listeners_mu_);
  for (auto& [watcher, ready] : listeners_) ready();
}

// ---- lists

std::vector<ObjectPtr> NetStore::Select(const std::function<bool(const v1::NetObject&)>& which) const {
  std::vector<ObjectPtr> selected;
  for (const auto& [key, object] : table_.objects()) {
    if (which(*object)) selected.push_back(object);
  }
  return selected;
}

absl::StatusOr<v1::ListReply> NetStore::List(const v1::ListRequest& request) {
  if (!request.page_token().empty()) return NextPage(request);
  std::unique_lock lock(mu_);
  HeldList list;
  list.revision = revision_;
  list.objects = Select([&](const v1::NetObject& object) { return Passes(request, object); });
  if (request.page_size() == 0 || list.objects.size() <= request.page_size()) {
    // The objects are immutable and shared, so the copying needs no lock.
    lock.unlock();
    return Page(&list, 0, 0);
  }
  DropExpired();
  if (held_.size() >= options_.pages_max) held_.pop_front();
  list.id = next_list_id_++;
  list.request = RequestIdentity(request);
  held_.push_back(std::move(list));
  return Page(&held_.back(), 0, request.page_size());
}

absl::StatusOr<v1::ListReply> NetStore::NextPage(const v1::ListRequest& request) {
  uint64_t id = 0;
  size_t offset = 0;
  if (!ParsePageToken(request.page_token(), &id, &offset)) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_token '", request.page_token(), "' is not one that NetEvents/List has given"));
  }
  std::lock_guard lock(mu_);
  DropExpired();
  auto held = std::find_if(held_.begin(), held_.end(), [&](const HeldList& list) { return list.id == id; });
  if (held == held_.end()) {
    return absl::AbortedError(
        absl::StrCat("page_token '", request.page_token(),
                     "' has expired; its revision is no longer held: list again without a token"));
  }
  if (held->request != RequestIdentity(request)) {
    return absl::InvalidArgumentError("kinds, dev and page_size must be those of the request that gave the page_token");
  }
  if (offset >= held->objects.size()) {
    return absl::InvalidArgumentError(absl::StrCat("page_token '", request.page_token(), "' is past the end of the list"));
  }
  return Page(&*held, offset, request.page_size());
}

// A page of `page_size` objects from `offset` on (0: all); holds the list longer when there is more.
v1::ListReply NetStore::Page(HeldList* held, size_t offset, uint32_t page_size) {
  v1::ListReply reply;
  reply.set_revision(held->revision);
  size_t end = page_size == 0 ? held->objects.size() : std::min(held->objects.size(), offset + page_size);
  for (size_t i = offset; i < end; ++i) AddTo(*held->objects[i], &reply);
  if (end < held->objects.size()) reply.set_next_page_token(PageToken(held->id, end));
  held->expires = options_.now() + options_.page_hold;
  return reply;
}

void NetStore::DropExpired() {
  SteadyTime now = options_.now();
  held_.remove_if([&](const HeldList& list) { return list.expires <= now; });
}

// ---- the writer

NetStore::Writer::Writer(NetStore* store)
    : store_(store),
      lock_(store->mu_),
      emit_([store](Difference difference) {
        if (!store->loaded_) return;
        v1::NetEvent event;
        event.set_action(difference.action);
        SetObject(*difference.now, &event);
        if (difference.old) *event.mutable_old() = *difference.old;
        for (std::string& field : difference.changed) event.add_changed(std::move(field));
        store->Record(std::move(event));
      }),
      revision_before_(store->revision_) {}

NetStore::Writer::~Writer() {
  bool news = store_->revision_ != revision_before_;
  lock_.unlock();
  if (!news) return;
  store_->changed_.notify_all();
  std::lock_guard lock(store_->listeners_mu_);
  for (auto& [watcher, ready] : store_->listeners_) ready();
}

void NetStore::Writer::Apply(ParsedMessage message) {
  store_->table_.Apply(std::move(message), emit_, &suspects_);
}

void NetStore::Writer::Replace(std::string_view prefix, std::vector<NetItem> items) {
  store_->table_.Replace(prefix, std::move(items), emit_, &suspects_);
}

void NetStore::Writer::Overrun() {
  v1::NetEvent event;
  event.set_action(v1::NetEvent::OVERRUN);
  store_->Record(std::move(event));
}

void NetStore::Writer::Resync() {
  v1::NetEvent event;
  event.set_action(v1::NetEvent::RESYNC);
  store_->Record(std::move(event));
}

void NetStore::Writer::FinishInitialLoad() { store_->loaded_ = true; }

void NetStore::Stamp(v1::NetEvent* event) const {
  event->mutable_netns()->set_inode(netns_inode_);
  int64_t now = ClockNs(CLOCK_REALTIME);
  event->mutable_time()->set_seconds(now / 1'000'000'000);
  event->mutable_time()->set_nanos(static_cast<int32_t>(now % 1'000'000'000));
  event->set_monotonic_ns(static_cast<uint64_t>(ClockNs(CLOCK_MONOTONIC)));
}

void NetStore::Record(v1::NetEvent event) {
  event.set_revision(++revision_);
  Stamp(&event);
  history_bytes_ += event.ByteSizeLong();
  history_.push_back(std::make_shared<const v1::NetEvent>(std::move(event)));
  while (history_.size() > options_.history_events_max ||
         (history_bytes_ > options_.history_bytes_max && history_.size() > 1)) {
    history_bytes_ -= history_.front()->ByteSizeLong();
    history_.pop_front();
  }
}

const EventPtr& NetStore::EventAt(uint64_t revision) const {
  return history_[revision - oldest_resumable() - 1];
}

// ---- watchers

absl::StatusOr<std::unique_ptr<NetWatcher>> NetStore::Watch(const v1::WatchRequest& request) {
  std::unique_ptr<NetWatcher> watcher(new NetWatcher(this, request));
  std::lock_guard lock(mu_);
  if (request.has_since_revision()) {
    uint64_t since = request.since_revision();
    if (since < oldest_resumable() || since > revision_) {
      return absl::OutOfRangeError(absl::StrCat("since_revision ", since, " is not in the history, which reaches from ",
                                                oldest_resumable(), " to ", revision_,
                                                "; watch without since_revision to begin with the full state"));
    }
    watcher->told_ = since;
  } else {
    auto selected = Select([&](const v1::NetObject& object) { return watcher->Wanted(object); });
    watcher->initial_.assign(selected.begin(), selected.end());
    watcher->told_ = revision_;
  }
  watcher->bookmark_at_ = revision_;
  return watcher;
}

NetWatcher::NetWatcher(NetStore* store, const v1::WatchRequest& request) : store_(store), request_(request) {}

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
  std::unique_lock lock(store_->mu_);
  absl::StatusOr<EventPtr> next = EventPtr();
  auto ready = [&] {
    next = NextLocked();
    return !next.ok() || *next != nullptr;
  };
  bool got = store_->changed_.wait_until(lock, stop, deadline, ready);
  if (got) return next;
  if (stop.stop_requested()) return absl::CancelledError("the watch was cancelled");
  return absl::DeadlineExceededError("no event yet");
}

absl::StatusOr<EventPtr> NetWatcher::TryNext() {
  std::lock_guard lock(store_->mu_);
  return NextLocked();
}

absl::StatusOr<EventPtr> NetWatcher::NextLocked() {
  if (store_->closed_) return absl::UnavailableError("the monitor is shutting down");
  if (!initial_.empty()) {
    v1::NetEvent event;
    event.set_revision(bookmark_at_);
    event.set_action(v1::NetEvent::ADDED);
    SetObject(*initial_.front(), &event);
    store_->Stamp(&event);
    initial_.pop_front();
    return std::make_shared<const v1::NetEvent>(std::move(event));
  }
  if (told_ < store_->oldest_resumable()) {
    return absl::OutOfRangeError(absl::StrCat("the watcher fell behind: revision ", told_ + 1,
                                              " has left the history, which begins after ",
                                              store_->oldest_resumable(), "; watch again from the full state"));
  }
  uint64_t end = bookmark_told_ ? store_->revision_ : bookmark_at_;
  while (told_ < end) {
    const EventPtr& event = store_->EventAt(++told_);
    if (Wanted(*event)) return event;
  }
  if (!bookmark_told_) {
    bookmark_told_ = true;
    v1::NetEvent event;
    event.set_revision(bookmark_at_);
    event.set_action(v1::NetEvent::BOOKMARK);
    store_->Stamp(&event);
    return std::make_shared<const v1::NetEvent>(std::move(event));
  }
  return EventPtr();
}

bool NetWatcher::Wanted(const v1::NetObject& object) const { return Passes(request_, object); }

bool NetWatcher::Wanted(const v1::NetEvent& event) const {
  if (event.object_case() == v1::NetEvent::OBJECT_NOT_SET) return true;
  if (request_.kinds().empty() && request_.dev().empty()) return true;
  // What has moved away from a wanted interface is told to those who knew it there.
  return Wanted(ObjectOf(event)) || (event.has_old() && Wanted(event.old()));
}

}  // namespace ipcrpc::monitor
