#include "services/monitor/net_store.h"

#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "services/monitor/net_filter.h"
#include "services/monitor/status_details.h"

namespace ipcrpc::monitor {
namespace {

constexpr std::chrono::seconds kLastPageHold{1};

uint64_t OwnNetns() {
  struct stat status;
  return stat("/proc/thread-self/ns/net", &status) == 0 ? status.st_ino : 0;
}

uint64_t NowInMicroseconds() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
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

std::vector<ObjectPtr> Values(const ObjectMap& objects) {
  std::vector<ObjectPtr> values;
  values.reserve(objects.size());
  for (const auto& [key, object] : objects) values.push_back(object);
  return values;
}

absl::StatusOr<std::chrono::nanoseconds> BookmarkInterval(const v1::WatchRequest& request) {
  if (!request.has_bookmark_interval()) return std::chrono::nanoseconds(0);
  const int64_t seconds = request.bookmark_interval().seconds();
  const int32_t nanos = request.bookmark_interval().nanos();
  constexpr int64_t kDay = 86'400;
  if (seconds < 0 || seconds > kDay || nanos < 0 || nanos >= 1'000'000'000 || (seconds == 0 && nanos < 1'000'000)) {
    return absl::InvalidArgumentError(
        absl::StrCat("bookmark_interval ", seconds, " s ", nanos, " ns: it must be from 1 ms to one day"));
  }
  return std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanos);
}

}  // namespace

NetStore::NetStore() : NetStore(Options()) {}

NetStore::NetStore(Options options)
    : options_(std::move(options)),
      history_(NowInMicroseconds(), options_.history_events_max, options_.history_bytes_max),
      // Tokens of an earlier instance must not name lists of this one.
      next_list_id_(history_.revision()) {
  v1::NetNs own;
  own.set_inode(options_.netns_inode != 0 ? options_.netns_inode : OwnNetns());
  AddNetns(std::move(own));
}

size_t NetStore::AddNetns(v1::NetNs netns) {
  spaces_.push_back(std::make_unique<Space>());
  spaces_.back()->netns = std::move(netns);
  return spaces_.size() - 1;
}

absl::StatusOr<size_t> NetStore::FindNetns(const std::string& name) const {
  std::vector<std::string> names;
  for (size_t number = 0; number < spaces_.size(); ++number) {
    if (spaces_[number]->netns.name() == name) return number;
    if (number != 0) names.push_back(spaces_[number]->netns.name());
  }
  return absl::NotFoundError(absl::StrCat(
      "network namespace '", name, "' is none that the daemon looks into; those are its own (empty)",
      names.empty() ? "" : ", ", absl::StrJoin(names, ", "), ": see its option --netns"));
}

uint64_t NetStore::revision() const {
  std::lock_guard lock(mu_);
  return history_.revision();
}

NetStore::Position NetStore::position() const {
  std::lock_guard lock(mu_);
  return PositionLocked();
}

bool NetStore::AwaitChange(const Position& position, std::stop_token stop, SteadyTime deadline) const {
  std::unique_lock lock(mu_);
  return changed_.wait_until(lock, std::move(stop), deadline, [&] { return closed_ || PositionLocked() != position; });
}

NetStore::News NetStore::NewsSince(std::optional<uint64_t> revision, size_t changes_max) const {
  News news;
  std::lock_guard lock(mu_);
  news.position = PositionLocked();
  for (const auto& space : spaces_) news.marks.push_back({space->consistent(), space->stale});
  if (!revision || *revision < history_.oldest() || *revision > history_.revision()) {
    news.state.emplace();
    for (const auto& space : spaces_) news.state->push_back(space->table.objects());
    return news;
  }
  for (; *revision < history_.revision() && news.changes.size() < changes_max; ++*revision) {
    news.changes.push_back(history_.At(*revision + 1));
  }
  news.position.revision = *revision;
  return news;
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

v1::RevisionRange NetStore::range() const {
  std::lock_guard lock(mu_);
  return RangeLocked();
}

v1::RevisionRange NetStore::RangeLocked() const {
  v1::RevisionRange range;
  range.set_oldest(history_.oldest());
  range.set_newest(history_.revision());
  return range;
}

absl::Status NetStore::OutOfRange(const char* what, uint64_t revision) const {
  const v1::RevisionRange range = RangeLocked();
  absl::Status status = absl::OutOfRangeError(
      absl::StrCat(what, " ", revision, " is not in the history, which reaches from ", range.oldest(), " to ",
                   range.newest(), "; watch without since_revision to begin with the full state, or list and go on from there"));
  SetDetails(range, &status);
  return status;
}

// ---- lists

std::shared_ptr<const NetStore::State> NetStore::StateLocked() {
  if (auto state = state_.lock(); state != nullptr && state->revision == history_.revision()) return state;
  auto state = std::make_shared<State>();
  state->revision = history_.revision();
  for (const auto& space : spaces_) state->objects.push_back(Values(space->table.objects()));
  state_ = state;
  return state;
}

// What the filter may want of a namespace. Copies under the lock, and works on the copies without it.
absl::StatusOr<std::vector<ObjectPtr>> NetStore::ObjectsAt(uint64_t revision, size_t netns, const NetFilter& filter,
                                                           std::unique_lock<std::mutex>* lock) {
  if (revision < history_.oldest() || revision > history_.revision()) return OutOfRange("revision", revision);
  const NetTable& table = spaces_[netns]->table;
  if (revision == history_.revision()) {
    std::vector<ObjectPtr> objects;
    for (int kind = v1::NetObject::LINK; kind <= v1::NetObject::Kind_MAX; ++kind) {
      const auto wanted = static_cast<v1::NetObject::Kind>(kind);
      if (filter.WantsKind(wanted)) table.Collect(wanted, &objects);
    }
    lock->unlock();
    return objects;
  }
  ObjectMap objects = table.objects();
  const std::vector<ChangePtr> later = history_.After(revision);
  lock->unlock();
  Undo(later, netns, &objects);
  return Values(objects);
}

absl::StatusOr<v1::ListReply> NetStore::List(const v1::ListRequest& request) {
  const absl::StatusOr<NetFilter> filter = NetFilter::From(request);
  if (!filter.ok()) return filter.status();
  const absl::StatusOr<size_t> netns = FindNetns(request.netns());
  if (!netns.ok()) return netns.status();
  if (!request.page_token().empty()) return NextPage(request);

  HeldList list;
  list.netns = *netns;
  std::unique_lock lock(mu_);
  DropExpired();
  list.consistent = spaces_[*netns]->consistent();
  list.stale = spaces_[*netns]->stale;
  list.revision = request.has_revision() ? request.revision() : history_.revision();
  absl::StatusOr<std::vector<ObjectPtr>> objects = ObjectsAt(list.revision, *netns, *filter, &lock);
  if (!objects.ok()) return objects.status();
  // The objects are immutable and shared, so that the rest needs no lock.
  for (ObjectPtr& object : *objects) {
    if (filter->Passes(*object)) list.objects.push_back(std::move(object));
  }
  if (request.page_size() == 0 || list.objects.size() <= request.page_size()) return Page(&list, 0, 0);
  list.request = RequestIdentity(request);
  lock.lock();
  if (held_.size() >= options_.pages_max) held_.pop_front();
  list.id = next_list_id_++;
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
    return absl::InvalidArgumentError(
        "all but the page_token must be as in the request that gave it: kinds, dev, page_size, and the rest");
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
  reply.set_consistent(held->consistent);
  if (held->stale) reply.set_stale(true);
  *reply.mutable_netns() = netns(held->netns);
  size_t end = page_size == 0 ? held->objects.size() : std::min(held->objects.size(), offset + page_size);
  for (size_t i = offset; i < end; ++i) AddTo(*held->objects[i], &reply);
  const bool more = end < held->objects.size();
  if (more) reply.set_next_page_token(PageToken(held->id, end));
  // Behind the last page only for whoever asks for it again because the reply was lost on its way.
  held->expires = options_.now() + (more ? options_.page_hold : kLastPageHold);
  return reply;
}

void NetStore::DropExpired() {
  SteadyTime now = options_.now();
  held_.remove_if([&](const HeldList& list) { return list.expires <= now; });
}

// ---- the writer

NetStore::Writer::Writer(NetStore* store, size_t netns)
    : store_(store),
      netns_(netns),
      lock_(store->mu_),
      emit_([store, netns](Difference difference) {
        if (store->spaces_[netns]->loaded) store->Record(netns, std::move(difference));
      }),
      before_(store->PositionLocked()) {}

NetStore::Writer::~Writer() {
  const bool news = store_->PositionLocked() != before_;
  lock_.unlock();
  if (!news) return;
  store_->changed_.notify_all();
  std::lock_guard lock(store_->listeners_mu_);
  for (auto& [watcher, ready] : store_->listeners_) ready();
}

void NetStore::Writer::Apply(ParsedMessage message) {
  store_->spaces_[netns_]->table.Apply(std::move(message), emit_, &suspects_);
}

void NetStore::Writer::Replace(Replacement replacement, std::optional<bool> consistent) {
  Space& space = *store_->spaces_[netns_];
  const std::string prefix = replacement.prefix;
  space.table.Replace(std::move(replacement), emit_, &suspects_);
  if (!consistent) return;
  if (!*consistent) {
    store_->Doubt(space, prefix);
  } else if (space.doubts.erase(prefix) != 0 && space.consistent() && space.loaded) {
    // Who was told that it is not learns that now it is.
    store_->Record(netns_, {v1::NetEvent::RESYNC, nullptr, nullptr, {}, "", ""});
  }
}

void NetStore::Writer::Put(const std::string& key, v1::NetObject object, const std::string& old_key) {
  store_->spaces_[netns_]->table.Put(key, std::move(object), old_key, emit_);
}

void NetStore::Writer::Erase(const std::string& key) { store_->spaces_[netns_]->table.Erase(key, emit_); }

void NetStore::Writer::SetDoubt(bool doubt) {
  Space& space = *store_->spaces_[netns_];
  if (doubt) {
    store_->Doubt(space, "");
  } else if (space.doubts.erase("") != 0) {
    ++store_->marks_;
  }
}

void NetStore::Writer::Overrun(bool stale) {
  Space& space = *store_->spaces_[netns_];
  space.in_gap = true;
  space.stale = stale;
  store_->Record(netns_, {v1::NetEvent::OVERRUN, nullptr, nullptr, {}, "", ""});
}

void NetStore::Writer::Resync() {
  Space& space = *store_->spaces_[netns_];
  space.in_gap = false;
  space.stale = false;
  store_->Record(netns_, {v1::NetEvent::RESYNC, nullptr, nullptr, {}, "", ""}, space.consistent());
}

void NetStore::Writer::FinishInitialLoad() { store_->spaces_[netns_]->loaded = true; }

void NetStore::Record(size_t netns, Difference difference, bool consistent) {
  Change change;
  change.netns = netns;
  change.difference = std::move(difference);
  change.consistent = consistent;
  change.stale = change.difference.now == nullptr && spaces_[netns]->stale;
  Stamp(&change);
  history_.Add(std::move(change));
}

void NetStore::Doubt(Space& space, const std::string& prefix) {
  if (space.doubts.insert(prefix).second) ++marks_;
}

const EventPtr& NetStore::EventLocked(uint64_t revision) {
  Change& change = *history_.At(revision);
  if (change.event == nullptr) change.event = std::make_shared<const v1::NetEvent>(EventOf(change, netns(change.netns)));
  return change.event;
}

// ---- watchers

absl::StatusOr<std::unique_ptr<NetWatcher>> NetStore::Watch(const v1::WatchRequest& request) {
  absl::StatusOr<NetFilter> filter = NetFilter::From(request);
  if (!filter.ok()) return filter.status();
  const absl::StatusOr<std::chrono::nanoseconds> interval = BookmarkInterval(request);
  if (!interval.ok()) return interval.status();
  std::vector<bool> spaces(spaces_.size(), false);
  if (request.netns().empty()) spaces[0] = true;
  for (const std::string& name : request.netns()) {
    if (name == "*") {
      spaces.assign(spaces.size(), true);
      continue;
    }
    const absl::StatusOr<size_t> number = FindNetns(name);
    if (!number.ok()) return number.status();
    spaces[*number] = true;
  }
  std::unique_ptr<NetWatcher> watcher(new NetWatcher(this, *std::move(filter), std::move(spaces), *interval));
  std::lock_guard lock(mu_);
  if (request.has_since_revision()) {
    uint64_t since = request.since_revision();
    if (since < history_.oldest() || since > history_.revision()) return OutOfRange("since_revision", since);
    watcher->told_ = since;
  } else {
    watcher->BeginState(v1::NetEvent::BOOKMARK);
  }
  watcher->bookmark_at_ = history_.revision();
  return watcher;
}

}  // namespace ipcrpc::monitor
