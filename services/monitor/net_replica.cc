#include "services/monitor/net_replica.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/monitor/collector_call.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Put in at once, between which readers have their turn.
constexpr size_t kAtOnce = 512;
// Of one collector. The kernel's own limits are far below.
constexpr size_t kObjectsMax = 4'000'000;
// Reading everything may take a collector so long at most.
constexpr std::chrono::seconds kAskPatience{10};
// Between two collectors, longer each time that none is found.
constexpr milliseconds kPauseMin{10}, kPauseMax{250};

v1::CollectorSettings MessageOf(const NetSettings& settings) {
  v1::CollectorSettings message;
  message.set_verify_interval_ms(static_cast<uint64_t>(settings.verify_interval.count()));
  message.set_paused(settings.paused);
  return message;
}

int KindOf(const v1::NetObject& object) {
  switch (object.object_case()) {
    case v1::NetObject::kLink: return v1::NetObject::LINK;
    case v1::NetObject::kAddress: return v1::NetObject::ADDRESS;
    case v1::NetObject::kRoute: return v1::NetObject::ROUTE;
    case v1::NetObject::kNeighbor: return v1::NetObject::NEIGHBOR;
    case v1::NetObject::kRule: return v1::NetObject::RULE;
    case v1::NetObject::OBJECT_NOT_SET: break;
  }
  return v1::NetObject::KIND_UNSPECIFIED;
}

// Keys begin with the kind and a family.
bool IsKey(const std::string& key) { return key.size() >= 2 && v1::NetObject::Kind_IsValid(key[0]) && key[0] != 0; }

bool MakesSense(const v1::FollowChange& change) {
  switch (change.action()) {
    case v1::NetEvent::ADDED:
    case v1::NetEvent::CHANGED:
      return IsKey(change.key()) && KindOf(change.object()) == change.key()[0] &&
             (change.old_key().empty() || (IsKey(change.old_key()) && change.old_key()[0] == change.key()[0]));
    case v1::NetEvent::REMOVED: return IsKey(change.key());
    case v1::NetEvent::OVERRUN:
    case v1::NetEvent::RESYNC: return true;
    default: return false;
  }
}

}  // namespace

NetReplica::NetReplica(NetStore* store, const NetSettings& settings, const std::shared_ptr<Channel>& channel, Report report)
    : store_(store),
      control_(v1::CollectorControl::NewStub(channel)),
      events_(v1::NetEvents::NewStub(channel)),
      report_(std::move(report)),
      settings_(settings) {}

absl::StatusOr<std::unique_ptr<NetReplica>> NetReplica::Open(NetStore* store, const Options& options,
                                                             const std::shared_ptr<Channel>& channel, Report report) {
  for (const v1::NetNs& netns : options.netns) store->AddNetns(netns);
  std::unique_ptr<NetReplica> replica(new NetReplica(store, options.settings, channel, std::move(report)));
  replica->thread_ = std::jthread([raw = replica.get()](std::stop_token stop) { raw->Run(std::move(stop)); });
  std::unique_lock lock(replica->mu_);
  if (replica->changed_.wait_for(lock, options.patience, [&] { return replica->followed_.has_value(); })) {
    lock.unlock();
    return replica;
  }
  absl::Status problem = absl::UnavailableError(
      absl::StrCat("the collector tells no state",
                   replica->problem_.ok() ? "" : absl::StrCat(": ", replica->problem_.message())));
  lock.unlock();
  return problem;
}

NetReplica::~NetReplica() = default;

void NetReplica::Run(std::stop_token stop) {
  pthread_setname_np(pthread_self(), "replica");
  milliseconds pause = kPauseMin;
  for (;;) {
    const uint64_t before = collectors_;
    absl::Status ended = Follow(stop);
    if (stop.stop_requested()) return;
    if (collectors_ != before) {
      MarkStale();
      pause = kPauseMin;
    }
    std::unique_lock lock(mu_);
    const bool news = followed_.has_value() || problem_.ok();
    followed_.reset();
    problem_ = std::move(ended);
    changed_.notify_all();
    lock.unlock();
    if (news) report_(problem_);
    lock.lock();
    if (changed_.wait_for(lock, stop, pause, [] { return false; })) return;
    pause = std::min(2 * pause, kPauseMax);
  }
}

absl::Status NetReplica::Follow(std::stop_token stop) {
  ClientContext context;
  context.set_wait_for_ready(true);
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  v1::FollowRequest request;
  {
    std::lock_guard lock(mu_);
    *request.mutable_settings() = MessageOf(settings_);
  }
  const auto stream = control_->Follow(&context, request);
  state_.assign(store_->netns_count(), {});
  state_size_ = 0;
  expects_state_ = true;
  v1::FollowReply reply;
  std::optional<uint64_t> revision;
  absl::Status wrong;
  while (stream->Read(&reply)) {
    wrong = Check(reply);
    if (wrong.ok() && revision && reply.revision() < *revision) {
      wrong = absl::InternalError("the collector's revisions run backwards");
    }
    if (!wrong.ok()) break;
    if (!revision) SetWarning(reply.warning());
    revision = reply.revision();
    for (const std::string& said : reply.said()) report_(absl::InternalError(said));
    Take(&reply);
    if (expects_state_) continue;
    std::unique_lock lock(mu_);
    const bool again = !followed_ && collectors_ != 0;
    if (!followed_) {
      ++collectors_;
      problem_ = absl::OkStatus();
    }
    followed_ = revision;
    changed_.notify_all();
    lock.unlock();
    if (again) report_(absl::OkStatus());
  }
  if (!wrong.ok()) context.TryCancel();
  const Status ended = stream->Finish();
  if (!wrong.ok()) return wrong;
  return absl::UnavailableError(absl::StrCat("the collector is gone: ", ended.error_message()));
}

absl::Status NetReplica::Check(const v1::FollowReply& reply) const {
  if (static_cast<size_t>(reply.netns_size()) != store_->netns_count()) {
    return absl::InternalError(absl::StrCat("the collector looks into ", reply.netns_size(), " network namespaces, not ",
                                            store_->netns_count()));
  }
  for (size_t number = 0; number < store_->netns_count(); ++number) {
    if (reply.netns(static_cast<int>(number)).inode() != store_->netns(number).inode()) {
      return absl::InternalError(
          absl::StrCat("the collector looks into another network namespace '", store_->netns(number).name(), "'"));
    }
  }
  if (expects_state_ && !reply.state()) return absl::InternalError("the collector tells changes of a state that it has not told");
  if (reply.state() && state_size_ + static_cast<size_t>(reply.changes_size()) > kObjectsMax) {
    return absl::InternalError("the collector tells of too many objects");
  }
  for (const v1::FollowChange& change : reply.changes()) {
    if (change.netns() >= store_->netns_count() || !MakesSense(change) ||
        (reply.state() && change.action() != v1::NetEvent::ADDED)) {
      return absl::InternalError("the collector tells of what is no object");
    }
  }
  return absl::OkStatus();
}

void NetReplica::Take(v1::FollowReply* reply) {
  marks_.assign(reply->netns().begin(), reply->netns().end());
  if (!reply->state()) {
    TakeChanges(reply);
    return;
  }
  expects_state_ = true;
  for (v1::FollowChange& change : *reply->mutable_changes()) {
    state_[change.netns()].push_back({std::move(*change.mutable_key()), std::move(*change.mutable_object())});
    ++state_size_;
  }
  if (!reply->more()) TakeState();
}

void NetReplica::TakeState() {
  for (size_t netns = 0; netns < state_.size(); ++netns) {
    const bool loaded = [&] {
      NetStore::Writer writer(store_, netns);
      // The collector's history did not reach back to what we have.
      if (writer.loaded() && !writer.in_gap()) writer.Overrun();
      return writer.loaded();
    }();
    ObjectTable::Unlike unlike = store_->CompareAll(netns, std::exchange(state_[netns], {}));
    auto gone = unlike.gone.begin();
    auto object = unlike.objects.begin();
    while (gone != unlike.gone.end() || object != unlike.objects.end()) {
      NetStore::Writer writer(store_, netns);
      for (size_t i = 0; i < kAtOnce && gone != unlike.gone.end(); ++i) writer.Erase(*gone++);
      for (size_t i = 0; i < kAtOnce && object != unlike.objects.end(); ++i, ++object) {
        writer.Put(object->key, std::move(object->object));
      }
    }
    const v1::FollowedNetns& mark = marks_[netns];
    NetStore::Writer writer(store_, netns);
    writer.SetDoubt(!mark.consistent());
    if (mark.stale() ? !writer.stale() : writer.stale() && !mark.consistent()) {
      writer.Overrun(mark.stale());
    } else if (loaded && mark.consistent()) {
      writer.Resync();
    }
    if (!loaded) writer.FinishInitialLoad();
  }
  state_size_ = 0;
  expects_state_ = false;
}

void NetReplica::TakeChanges(v1::FollowReply* reply) {
  std::optional<NetStore::Writer> writer;
  std::optional<uint32_t> netns;
  for (v1::FollowChange& change : *reply->mutable_changes()) {
    if (netns != change.netns()) {
      writer.reset();
      netns = change.netns();
      writer.emplace(store_, *netns);
    }
    switch (change.action()) {
      case v1::NetEvent::REMOVED: writer->Erase(change.key()); break;
      case v1::NetEvent::OVERRUN: writer->Overrun(change.stale()); break;
      case v1::NetEvent::RESYNC:
        writer->SetDoubt(!change.consistent());
        writer->Resync();
        break;
      default: writer->Put(change.key(), std::move(*change.mutable_object()), change.old_key());
    }
  }
  writer.reset();
  for (size_t number = 0; number < marks_.size(); ++number) {
    NetStore::Writer(store_, number).SetDoubt(!marks_[number].consistent());
  }
}

void NetReplica::MarkStale() {
  for (size_t number = 0; number < store_->netns_count(); ++number) {
    NetStore::Writer writer(store_, number);
    if (!writer.stale()) writer.Overrun(true);
  }
}

absl::Status NetReplica::Ask(const Call& call) {
  uint64_t collectors;
  {
    std::lock_guard lock(mu_);
    if (!followed_) return absl::UnavailableError("there is no collector now; it is being started again");
    collectors = collectors_;
  }
  ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAskPatience);
  v1::CollectorPosition position;
  const Status status = call(&context, &position);
  const bool gone = status.error_code() == StatusCode::UNAVAILABLE;
  if (!status.ok() && !gone) return FromStatus(status);
  std::unique_lock lock(mu_);
  const auto lost = [&] { return !followed_ || collectors_ != collectors; };
  const bool known =
      changed_.wait_for(lock, kAskPatience, [&] { return lost() || (!gone && *followed_ >= position.revision()); });
  if (!known) return absl::DeadlineExceededError("the collector does not keep up");
  return lost() ? absl::UnavailableError("the collector has ended meanwhile; it is being started again") : absl::OkStatus();
}

absl::Status NetReplica::RefreshNeighbors(const std::vector<size_t>& netns) {
  v1::RefreshNeighborsRequest request;
  for (size_t number : netns) request.add_netns(static_cast<uint32_t>(number));
  const absl::Status status = Ask([&](ClientContext* context, v1::CollectorPosition* position) {
    return control_->RefreshNeighbors(context, request, position);
  });
  // Then the store says that it is stale.
  return absl::IsUnavailable(status) ? absl::OkStatus() : status;
}

absl::Status NetReplica::Configure(const NetSettings& settings) {
  {
    std::lock_guard lock(mu_);
    settings_ = settings;
  }
  return Ask([&](ClientContext* context, v1::CollectorPosition* position) {
    return control_->Configure(context, MessageOf(settings), position);
  });
}

absl::Status NetReplica::Resync() {
  return Ask([&](ClientContext* context, v1::CollectorPosition* position) {
    return control_->Resync(context, {}, position);
  });
}

absl::StatusOr<v1::LinkStatsReply> NetReplica::LinkStats(const v1::LinkStatsRequest& request) {
  v1::LinkStatsReply reply;
  absl::Status status =
      CallCollector([&](ClientContext* context) { return events_->LinkStats(context, request, &reply); });
  if (!status.ok()) return status;
  return reply;
}

std::vector<v1::CollectorStats> NetReplica::Stats() {
  ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  v1::StatsReply reply;
  const Status status = events_->Stats(&context, {}, &reply);
  std::lock_guard lock(mu_);
  if (status.ok()) stats_.assign(reply.collectors().begin(), reply.collectors().end());
  return stats_;
}

void NetReplica::SetWarning(const std::string& warning) {
  std::lock_guard lock(mu_);
  warning_ = warning;
}

std::string NetReplica::warning() const {
  std::lock_guard lock(mu_);
  return warning_;
}

}  // namespace ipcrpc::monitor
