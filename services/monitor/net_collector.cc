#include "services/monitor/net_collector.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"

namespace ipcrpc::monitor {
namespace {

// Datagrams taken in by one Step before it lets others have their turn, and at once, so that watchers are
// woken once for them.
constexpr int kDatagramsPerStep = 1024;
constexpr size_t kBatchMax = 128;

// Differences put in at once, between which readers have their turn.
constexpr size_t kReplacedAtOnce = 512;

// Datagrams thrown away at once, before everything is listed anew.
constexpr int kDiscardMax = 1 << 20;

// After the kernel refused to list.
constexpr std::chrono::seconds kRetryInterval{1};
// How much less often a state is verified of which nothing was heard.
constexpr int kQuietFactor = 10;

// A kernel without IPv6 has none of its objects.
bool LacksFamily(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnimplemented || status.code() == absl::StatusCode::kNotFound ||
         status.code() == absl::StatusCode::kUnavailable;
}

}  // namespace

NetCollector::NetCollector(NetStore* store, NameTables names, Options options, NetlinkEvents events,
                           NetlinkQuery query, OwnedFd timer, OwnedFd epoll)
    : store_(store),
      names_(std::move(names)),
      options_(options),
      events_(std::move(events)),
      query_(std::move(query)),
      timer_(std::move(timer)),
      epoll_(std::move(epoll)) {
  if (events_.buffer_bytes() < options_.receive_buffer_bytes) {
    warning_ = absl::StrCat("the buffer for netlink notifications has ", events_.buffer_bytes(), " bytes, not ",
                            options_.receive_buffer_bytes,
                            ": more of them will be lost in storms (needs CAP_NET_ADMIN, or more in "
                            "net.core.rmem_max)");
  }
}

absl::StatusOr<std::unique_ptr<NetCollector>> NetCollector::Open(NetStore* store, NameTables names,
                                                                 Options options) {
  std::optional<NetlinkEvents> events;
  std::optional<NetlinkQuery> query;
  auto open_sockets = [&]() -> absl::Status {
    auto opened_events = NetlinkEvents::Open(NotificationGroups(), options.receive_buffer_bytes);
    if (!opened_events.ok()) return opened_events.status();
    auto opened_query = NetlinkQuery::Open();
    if (!opened_query.ok()) return opened_query.status();
    events = *std::move(opened_events);
    query = *std::move(opened_query);
    return absl::OkStatus();
  };
  absl::Status opened = options.netns == nullptr ? open_sockets() : InNetns(*options.netns, open_sockets);
  if (!opened.ok()) return opened;
  OwnedFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  OwnedFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (timer.get() < 0 || epoll.get() < 0) return absl::ErrnoToStatus(errno, "cannot make a timer and an epoll");
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, timer.get(), &event) != 0) {
    return absl::ErrnoToStatus(errno, "epoll_ctl failed");
  }
  std::unique_ptr<NetCollector> collector(new NetCollector(store, std::move(names), options, *std::move(events),
                                                           *std::move(query), std::move(timer), std::move(epoll)));
  const auto turn = collector->TakeTurn();
  if (absl::Status status = collector->Listen(true); !status.ok()) return status;
  return collector;
}

absl::Status NetCollector::Load() {
  const auto turn = TakeTurn();
  if (absl::Status status = ListAll(); !status.ok()) return status;
  NetStore::Writer(store_, options_.netns_number).FinishInitialLoad();
  last_verify_ = Clock::now();
  ArmForWhatIsLeft();
  return absl::OkStatus();
}

// Whoever steps it takes the lock again as soon as it is free, so that in a storm nobody else would ever get it.
std::unique_lock<std::mutex> NetCollector::TakeTurn() const {
  std::lock_guard next(next_mu_);
  return std::unique_lock(mu_);
}

absl::Status NetCollector::Listen(bool on) {
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll_.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, events_.fd(), &event) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "epoll_ctl failed");
}

absl::Status NetCollector::ListAll() {
  for (const Scope& scope : AllScopes()) {
    if (absl::Status status = ListInto(scope); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status NetCollector::Step() {
  const auto turn = TakeTurn();
  uint64_t ticks;
  while (read(timer_.get(), &ticks, sizeof ticks) > 0) continue;
  if (paused_) return absl::OkStatus();
  absl::Status status = in_gap_ ? absl::OkStatus() : Drain();
  if (status.ok() && in_gap_) status = RelistAfterOverrun();
  if (status.ok() && !in_gap_) status = RelistSuspects();
  if (status.ok() && !in_gap_) status = Verify();
  if (status.ok()) {
    GetDirtyLinks();
    ArmForWhatIsLeft();
  } else {
    SetTimer(Clock::now() + kRetryInterval);
  }
  return status;
}

absl::Status NetCollector::Drain() {
  std::vector<ParsedMessage> batch;
  for (int i = 0; i < kDatagramsPerStep; ++i) {
    auto result = events_.Receive([&](const nlmsghdr* message) { Notice(message, &batch); });
    if (!result.ok()) return result.status();
    if (*result == NetlinkEvents::Result::kOverrun) {
      ApplyBatch(&batch);
      return EnterGap();
    }
    if (*result == NetlinkEvents::Result::kEmpty) break;
    active_ = true;
    if (batch.size() >= kBatchMax) ApplyBatch(&batch);
  }
  ApplyBatch(&batch);
  stats_.foreign = events_.foreign_datagrams();
  return absl::OkStatus();
}

void NetCollector::ApplyBatch(std::vector<ParsedMessage>* batch) {
  if (batch->empty()) return;
  NetStore::Writer writer(store_, options_.netns_number);
  for (ParsedMessage& message : *batch) writer.Apply(std::move(message));
  Suspect(writer.suspects());
  batch->clear();
}

void NetCollector::Notice(const nlmsghdr* message, std::vector<ParsedMessage>* batch) {
  ++stats_.messages;
  switch (message->nlmsg_type) {
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP: suspects_.insert(KindPrefix(v1::NetObject::ROUTE)); return;
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
      if (auto header = FixedHeader<tcmsg>(message); header && header->tcm_parent == TC_H_ROOT) {
        dirty_links_.insert(static_cast<uint32_t>(header->tcm_ifindex));
      }
      return;
    case RTM_NEWLINK:
      // A bridge tells of a port's new state in a partial message of its own.
      if (auto header = FixedHeader<ifinfomsg>(message); header && header->ifi_family == AF_BRIDGE) {
        dirty_links_.insert(static_cast<uint32_t>(header->ifi_index));
        return;
      }
      break;
    default: break;
  }
  auto parsed = ParseNetMessage(message, names_);
  if (!parsed.ok()) {
    ++stats_.malformed;
  } else if (parsed->has_value()) {
    batch->push_back(std::move(**parsed));
  }
}

// At once, so that watchers know that from here on there is a gap.
absl::Status NetCollector::EnterGap() {
  ++stats_.overruns;
  if (in_gap_) return absl::OkStatus();
  in_gap_ = true;
  last_discard_ = Clock::now();
  next_relist_ = std::max(next_relist_, last_discard_ + options_.calm_max);
  NetStore::Writer(store_, options_.netns_number).Overrun();
  return Listen(false);
}

// Whether there was anything. Under a flood that outruns it, the next loss begins it all again.
absl::StatusOr<bool> NetCollector::Discard() {
  last_discard_ = Clock::now();
  for (int i = 0; i < kDiscardMax; ++i) {
    auto result = events_.Receive([](const nlmsghdr*) {});
    if (!result.ok()) return result.status();
    if (*result == NetlinkEvents::Result::kEmpty) return i > 0;
  }
  return true;
}

absl::Status NetCollector::RelistAfterOverrun() {
  const Clock::time_point begin = Clock::now();
  if (begin < next_relist_ && begin < last_discard_ + options_.calm) return absl::OkStatus();
  // What is still in the socket is older than the lists to come. While more comes, listing can wait.
  auto more = Discard();
  if (!more.ok()) return more.status();
  if (*more && begin < next_relist_) return absl::OkStatus();
  // All links and routes are about to be read.
  suspects_.clear();
  dirty_links_.clear();
  ++stats_.relists;
  if (absl::Status status = ListAll(); !status.ok()) return status;
  // What happened since is in the socket, unless that has overrun meanwhile: then the gap goes on.
  const uint64_t overruns = stats_.overruns;
  absl::Status status = Drain();
  PauseLists(begin);
  if (!status.ok() || stats_.overruns != overruns) return status;
  in_gap_ = false;
  last_verify_ = Clock::now();
  active_ = false;
  NetStore::Writer(store_, options_.netns_number).Resync();
  return Listen(true);
}

void NetCollector::GetDirtyLinks() {
  std::set<uint32_t> dirty;
  dirty.swap(dirty_links_);
  for (uint32_t index : dirty) {
    Request request;
    std::vector<ParsedMessage> batch;
    ++stats_.gets;
    absl::Status status = query_.Get(LinkRequest(&request, static_cast<int>(index)), [&](const nlmsghdr* message) {
      auto parsed = ParseNetMessage(message, names_);
      if (parsed.ok() && parsed->has_value()) batch.push_back(std::move(**parsed));
    });
    // If it is gone in the meantime, its removal is on the way.
    if (status.ok()) ApplyBatch(&batch);
  }
}

absl::Status NetCollector::RelistSuspects() {
  const Clock::time_point begin = Clock::now();
  if (suspects_.empty() || begin < next_relist_) return absl::OkStatus();
  std::set<std::string> suspects;
  suspects.swap(suspects_);
  for (const Scope& scope : AllScopes()) {
    std::string prefix = PrefixOf(scope);
    bool wanted = std::any_of(suspects.begin(), suspects.end(),
                              [&](const std::string& suspect) { return prefix.starts_with(suspect); });
    if (!wanted) continue;
    if (absl::Status status = ListInto(scope); !status.ok()) {
      suspects_.merge(suspects);
      return status;
    }
  }
  PauseLists(begin);
  return absl::OkStatus();
}

// Lists of large tables may take a fifth of the time at most.
void NetCollector::PauseLists(Clock::time_point begin) {
  const Clock::time_point end = Clock::now();
  next_relist_ = end + std::max<Clock::duration>(options_.relist_interval, 4 * (end - begin));
}

NetCollector::Clock::time_point NetCollector::NextVerify() const {
  if (options_.verify_interval.count() == 0) return Clock::time_point::max();
  return last_verify_ + options_.verify_interval * (active_ ? 1 : kQuietFactor);
}

absl::Status NetCollector::Verify() {
  const Clock::time_point begin = Clock::now();
  if (begin < NextVerify() || begin < next_relist_) return absl::OkStatus();
  ++stats_.verifies;
  const uint64_t revision = store_->revision();
  if (absl::Status status = ListAll(); !status.ok()) return status;
  stats_.verify_found += store_->revision() - revision;
  last_verify_ = Clock::now();
  active_ = false;
  PauseLists(begin);
  return absl::OkStatus();
}

absl::Status NetCollector::Configure(const NetSettings& settings) {
  const auto turn = TakeTurn();
  options_.verify_interval = settings.verify_interval;
  absl::Status status;
  if (settings.paused && !paused_) {
    status = Pause();
  } else if (!settings.paused && paused_) {
    paused_ = false;
    // There is nothing to wait for.
    next_relist_ = Clock::now();
    status = RelistAfterOverrun();
  }
  ArmForWhatIsLeft();
  return status;
}

absl::Status NetCollector::Pause() {
  const bool listened = !in_gap_;
  paused_ = in_gap_ = true;
  NetStore::Writer(store_, options_.netns_number).Overrun(/*stale=*/true);
  return listened ? Listen(false) : absl::OkStatus();
}

absl::Status NetCollector::Resync() {
  const auto turn = TakeTurn();
  if (paused_) return absl::FailedPreconditionError("the collector is paused");
  absl::Status status;
  if (in_gap_) {
    next_relist_ = Clock::now();
    status = RelistAfterOverrun();
  } else {
    status = Drain();
    if (status.ok()) status = ListAll();
  }
  ArmForWhatIsLeft();
  return status;
}

absl::Status NetCollector::RefreshNeighbors() {
  const auto turn = TakeTurn();
  if (paused_) return absl::OkStatus();
  if (!in_gap_) {
    if (absl::Status status = Drain(); !status.ok()) return status;
  }
  for (int family : {AF_INET, AF_INET6}) {
    if (absl::Status status = ListInto({v1::NetObject::NEIGHBOR, family}); !status.ok()) return status;
  }
  ArmForWhatIsLeft();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NetItem>> NetCollector::List(const Scope& scope, bool* consistent) {
  std::string prefix = PrefixOf(scope);
  std::vector<NetItem> items;
  Request request;
  ++stats_.dumps;
  auto begin_again = [&](int attempt) {
    ++stats_.dumps;
    items.clear();
    // Whoever changes it may be done soon.
    std::this_thread::sleep_for(options_.dump_backoff * (1 << std::min(attempt - 1, 4)));
  };
  absl::Status status =
      query_.Dump(DumpRequest(&request, scope), options_.dump_tries, begin_again, [&](const nlmsghdr* message) {
        auto parsed = ParseNetMessage(message, names_);
        if (!parsed.ok()) {
          ++stats_.malformed;
        } else if (parsed->has_value() && !(*parsed)->removed && (*parsed)->item.key.starts_with(prefix)) {
          items.push_back(std::move((*parsed)->item));
        }
      });
  *consistent = !absl::IsAborted(status);
  if (!*consistent) {
    // Better than nothing, and most of what changed meanwhile is in the event socket.
    ++stats_.interrupted;
    suspects_.insert(prefix);
    return items;
  }
  if (scope.family == AF_INET6 && LacksFamily(status)) return std::vector<NetItem>();
  if (!status.ok()) return status;
  return items;
}

absl::Status NetCollector::ListInto(const Scope& scope) {
  bool consistent = true;
  auto items = List(scope, &consistent);
  if (!items.ok()) return items.status();
  Replacement replacement = store_->Compare(options_.netns_number, PrefixOf(scope), *std::move(items));
  std::vector<Replacement> pieces = Pieces(std::move(replacement), kReplacedAtOnce);
  for (size_t i = 0; i < pieces.size(); ++i) {
    NetStore::Writer writer(store_, options_.netns_number);
    writer.Replace(std::move(pieces[i]), i + 1 == pieces.size() ? std::optional<bool>(consistent) : std::nullopt);
    Suspect(writer.suspects());
  }
  return absl::OkStatus();
}

void NetCollector::Suspect(const Suspects& suspects) {
  suspects_.insert(suspects.prefixes.begin(), suspects.prefixes.end());
  dirty_links_.insert(suspects.links.begin(), suspects.links.end());
}

// The socket may stay silent, so that what is still to be done needs the timer.
void NetCollector::ArmForWhatIsLeft() {
  if (paused_) return;
  Clock::time_point when = NextVerify();
  if (in_gap_) {
    when = std::min(next_relist_, last_discard_ + options_.calm);
  } else if (!suspects_.empty()) {
    when = next_relist_;
  }
  if (!in_gap_ && !dirty_links_.empty()) when = Clock::now();
  if (when != Clock::time_point::max()) SetTimer(when);
}

void NetCollector::SetTimer(Clock::time_point when) {
  // 0 would disarm it.
  auto wait = std::max<Clock::duration>(when - Clock::now(), std::chrono::nanoseconds(1));
  auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(wait).count();
  itimerspec spec{};
  spec.it_value.tv_sec = ns / 1'000'000'000;
  spec.it_value.tv_nsec = ns % 1'000'000'000;
  timerfd_settime(timer_.get(), 0, &spec, nullptr);
}

NetCollector::Stats NetCollector::stats() const {
  const auto turn = TakeTurn();
  return stats_;
}

NetCollectorThread::NetCollectorThread(NetCollector* collector, std::function<void(const absl::Status&)> report)
    : collector_(collector), report_(std::move(report)), stop_(eventfd(0, EFD_CLOEXEC)) {
  thread_ = std::thread([this] { Run(); });
}

NetCollectorThread::~NetCollectorThread() {
  uint64_t one = 1;
  while (write(stop_.get(), &one, sizeof one) < 0 && errno == EINTR) continue;
  thread_.join();
}

void NetCollectorThread::Run() {
  pthread_setname_np(pthread_self(), "netlink");
  for (;;) {
    pollfd fds[] = {{stop_.get(), POLLIN, 0}, {collector_->fd(), POLLIN, 0}};
    if (poll(fds, std::size(fds), -1) < 0 && errno != EINTR) {
      report_(absl::ErrnoToStatus(errno, "poll failed"));
      return;
    }
    if (fds[0].revents != 0) return;
    if (fds[1].revents == 0) continue;
    if (absl::Status status = collector_->Step(); !status.ok()) report_(status);
  }
}

}  // namespace ipcrpc::monitor
