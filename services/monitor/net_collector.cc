#include "services/monitor/net_collector.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>

#include "services/monitor/key.h"

namespace ipcrpc::monitor {
namespace {

using Scope = NetCollector::Scope;

// Datagrams taken in by one Step before it lets others have their turn.
constexpr int kDatagramsPerStep = 512;

// Datagrams thrown away before everything is listed anew; under a flood that outruns even this, the next
// loss begins it all again.
constexpr int kDiscardMax = 1 << 20;

// After the kernel refused to list.
constexpr std::chrono::seconds kRetryInterval{1};

// Everything, in the order to list it in: links first, as the others name them.
constexpr Scope kScopes[] = {
    {v1::NetObject::LINK, AF_UNSPEC},   {v1::NetObject::ADDRESS, AF_INET},   {v1::NetObject::ADDRESS, AF_INET6},
    {v1::NetObject::ROUTE, AF_INET},    {v1::NetObject::ROUTE, AF_INET6},    {v1::NetObject::NEIGHBOR, AF_INET},
    {v1::NetObject::NEIGHBOR, AF_INET6}, {v1::NetObject::RULE, AF_INET},     {v1::NetObject::RULE, AF_INET6},
};

const std::vector<int>& Groups() {
  static const auto* const groups = new std::vector<int>{
      RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
      RTNLGRP_NEIGH,      RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
      // Replaced next-hop objects change routes; a root queueing discipline is part of a link.
      RTNLGRP_NEXTHOP,    RTNLGRP_TC};
  return *groups;
}

// Room for a request: header, fixed header, one or two attributes.
struct Request {
  alignas(NLMSG_ALIGNTO) char bytes[256];
};

template <typename Header>
nlmsghdr* BeginRequest(Request* request, uint16_t type, const Header& header) {
  nlmsghdr* message = mnl_nlmsg_put_header(request->bytes);
  message->nlmsg_type = type;
  __builtin_memcpy(mnl_nlmsg_put_extra_header(message, sizeof header), &header, sizeof header);
  return message;
}

nlmsghdr* LinkRequest(Request* request, int index) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = index;
  nlmsghdr* message = BeginRequest(request, RTM_GETLINK, header);
  mnl_attr_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return message;
}

nlmsghdr* DumpRequest(Request* request, v1::NetObject::Kind kind, int family) {
  switch (kind) {
    case v1::NetObject::ADDRESS: {
      ifaddrmsg header{};
      header.ifa_family = static_cast<uint8_t>(family);
      return BeginRequest(request, RTM_GETADDR, header);
    }
    case v1::NetObject::ROUTE: {
      rtmsg header{};
      header.rtm_family = static_cast<uint8_t>(family);
      return BeginRequest(request, RTM_GETROUTE, header);
    }
    case v1::NetObject::NEIGHBOR: {
      ndmsg header{};
      header.ndm_family = static_cast<uint8_t>(family);
      return BeginRequest(request, RTM_GETNEIGH, header);
    }
    case v1::NetObject::RULE: {
      fib_rule_hdr header{};
      header.family = static_cast<uint8_t>(family);
      return BeginRequest(request, RTM_GETRULE, header);
    }
    default: return LinkRequest(request, 0);
  }
}

std::string PrefixOf(v1::NetObject::Kind kind, int family) {
  return kind == v1::NetObject::LINK ? KindPrefix(kind) : FamilyPrefix(kind, family);
}

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
      epoll_(std::move(epoll)) {}

absl::StatusOr<std::unique_ptr<NetCollector>> NetCollector::Open(NetStore* store) {
  return Open(store, NameTables::Load(), Options());
}

absl::StatusOr<std::unique_ptr<NetCollector>> NetCollector::Open(NetStore* store, NameTables names,
                                                                 Options options) {
  auto events = NetlinkEvents::Open(Groups(), options.receive_buffer_bytes);
  if (!events.ok()) return events.status();
  auto query = NetlinkQuery::Open();
  if (!query.ok()) return query.status();
  OwnedFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  OwnedFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (timer.get() < 0 || epoll.get() < 0) return absl::ErrnoToStatus(errno, "cannot make a timer and an epoll");
  for (int fd : {events->fd(), timer.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return absl::ErrnoToStatus(errno, "epoll_ctl failed");
  }
  std::unique_ptr<NetCollector> collector(new NetCollector(store, std::move(names), options, std::move(*events),
                                                           std::move(*query), std::move(timer), std::move(epoll)));
  std::lock_guard lock(collector->mu_);
  if (absl::Status status = collector->ListAll(); !status.ok()) return status;
  NetStore::Writer(store).FinishInitialLoad();
  collector->ArmForWhatIsLeft();
  return collector;
}

absl::Status NetCollector::ListAll() {
  for (const Scope& scope : kScopes) {
    if (absl::Status status = ListInto(scope); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status NetCollector::Step() {
  std::lock_guard lock(mu_);
  uint64_t ticks;
  while (read(timer_.get(), &ticks, sizeof ticks) > 0) continue;
  absl::Status status = Drain();
  if (status.ok() && overrun_) status = RelistAfterOverrun();
  if (status.ok()) status = RelistSuspects();
  if (status.ok()) GetDirtyLinks();
  if (status.ok()) {
    ArmForWhatIsLeft();
  } else {
    SetTimer(Clock::now() + kRetryInterval);
  }
  return status;
}

absl::Status NetCollector::Drain() {
  for (int i = 0; i < kDatagramsPerStep; ++i) {
    std::vector<ParsedMessage> batch;
    auto result = events_.Receive([&](const nlmsghdr* message) { Notice(message, &batch); });
    if (!result.ok()) return result.status();
    if (*result == NetlinkEvents::Result::kEmpty) break;
    if (*result == NetlinkEvents::Result::kOverrun) {
      ++stats_.overruns;
      // At once, so that watchers know that from here on there is a gap.
      if (!overrun_) NetStore::Writer(store_).Overrun();
      overrun_ = true;
    }
    if (batch.empty()) continue;
    NetStore::Writer writer(store_);
    for (ParsedMessage& message : batch) writer.Apply(std::move(message));
    Suspect(writer.suspects());
  }
  stats_.foreign = events_.foreign_datagrams();
  return absl::OkStatus();
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

absl::Status NetCollector::RelistAfterOverrun() {
  // What is still in the socket is older than the lists to come.
  for (int i = 0; i < kDiscardMax; ++i) {
    auto result = events_.Receive([](const nlmsghdr*) {});
    if (!result.ok()) return result.status();
    if (*result == NetlinkEvents::Result::kEmpty) break;
  }
  if (absl::Status status = ListAll(); !status.ok()) return status;
  overrun_ = false;
  NetStore::Writer(store_).Resync();
  return absl::OkStatus();
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
    // Gone in the meantime: its removal is on the way.
    if (!status.ok()) continue;
    NetStore::Writer writer(store_);
    for (ParsedMessage& message : batch) writer.Apply(std::move(message));
    Suspect(writer.suspects());
  }
}

absl::Status NetCollector::RelistSuspects() {
  Clock::time_point begin = Clock::now();
  if (suspects_.empty() || begin < next_relist_) return absl::OkStatus();
  std::set<std::string> suspects;
  suspects.swap(suspects_);
  for (const Scope& scope : kScopes) {
    std::string prefix = PrefixOf(scope.kind, scope.family);
    bool wanted = std::any_of(suspects.begin(), suspects.end(),
                              [&](const std::string& suspect) { return prefix.starts_with(suspect); });
    if (!wanted) continue;
    if (absl::Status status = ListInto(scope); !status.ok()) {
      suspects_.merge(suspects);
      return status;
    }
  }
  // Lists of large tables may take a fifth of the time at most.
  Clock::time_point end = Clock::now();
  next_relist_ = end + std::max<Clock::duration>(options_.relist_interval, 4 * (end - begin));
  return absl::OkStatus();
}

absl::Status NetCollector::RefreshNeighbors() {
  std::lock_guard lock(mu_);
  if (absl::Status status = Drain(); !status.ok()) return status;
  for (int family : {AF_INET, AF_INET6}) {
    if (absl::Status status = ListInto({v1::NetObject::NEIGHBOR, family}); !status.ok()) return status;
  }
  ArmForWhatIsLeft();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NetItem>> NetCollector::List(const Scope& scope) {
  std::string prefix = PrefixOf(scope.kind, scope.family);
  std::vector<NetItem> items;
  Request request;
  auto begin_again = [&] {
    ++stats_.dumps;
    items.clear();
  };
  begin_again();
  absl::Status status = query_.Dump(
      DumpRequest(&request, scope.kind, scope.family), options_.dump_tries, begin_again, [&](const nlmsghdr* message) {
        auto parsed = ParseNetMessage(message, names_);
        if (!parsed.ok()) {
          ++stats_.malformed;
        } else if (parsed->has_value() && !(*parsed)->removed && (*parsed)->item.key.starts_with(prefix)) {
          items.push_back(std::move((*parsed)->item));
        }
      });
  if (absl::IsAborted(status)) {
    // Better than nothing, and most of what changed meanwhile is in the event socket.
    suspects_.insert(prefix);
    return items;
  }
  if (scope.family == AF_INET6 && LacksFamily(status)) return std::vector<NetItem>();
  if (!status.ok()) return status;
  return items;
}

absl::Status NetCollector::ListInto(const Scope& scope) {
  auto items = List(scope);
  if (!items.ok()) return items.status();
  NetStore::Writer writer(store_);
  writer.Replace(PrefixOf(scope.kind, scope.family), std::move(*items));
  Suspect(writer.suspects());
  return absl::OkStatus();
}

void NetCollector::Suspect(const Suspects& suspects) {
  suspects_.insert(suspects.prefixes.begin(), suspects.prefixes.end());
  dirty_links_.insert(suspects.links.begin(), suspects.links.end());
}

// The socket may stay silent, so that what is still to be done needs the timer.
void NetCollector::ArmForWhatIsLeft() {
  if (overrun_ || !dirty_links_.empty()) {
    SetTimer(Clock::now());
  } else if (!suspects_.empty()) {
    SetTimer(next_relist_);
  }
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
  std::lock_guard lock(mu_);
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
