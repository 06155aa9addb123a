#include "transport/takeover/offer.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/log.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/takeover/control.h"

namespace ipcrpc::takeover {
namespace {

constexpr size_t kMaxConversations = 16;
constexpr int kEventsPerVisit = 16;

bool HungUp(int socket) {
  char byte;
  return recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

}  // namespace

absl::StatusOr<Place> MakePlace(std::shared_ptr<Listener> listener, std::unique_ptr<UnixListenSocket> control) {
  ASSIGN_OR_RETURN(std::string place, ControlPlace(listener->address()));
  if (control == nullptr) {
    ASSIGN_OR_RETURN(control, UnixListenSocket::BindBeside(place, SOCK_SEQPACKET));
  }
  return Place{std::move(place), std::move(listener), std::move(control)};
}

Offer::Offer(std::vector<Place> places, std::function<void()> relieve, int64_t limit_ns)
    : places_(std::move(places)), relieve_(std::move(relieve)), limit_ns_(limit_ns), epoll_(epoll_create1(EPOLL_CLOEXEC)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
  for (Place& place : places_) Watch(place.control->fd(), &place);
  Watch(timer_.get(), nullptr);
}

Offer::~Offer() {
  while (!conversations_.empty()) End(conversations_.begin(), absl::UnavailableError("the server shuts down"));
}

void Offer::Watch(int fd, void* what) {
  epoll_event event = {.events = EPOLLIN, .data = {.ptr = what}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Offer::OnReadable() {
  epoll_event events[kEventsPerVisit];
  const int count = epoll_wait(epoll_.get(), events, kEventsPerVisit, 0);
  for (int i = 0; i < count && !relieved_; ++i) {
    void* const what = events[i].data.ptr;
    for (Place& place : places_) {
      if (&place == what) Accept(*place.control);
    }
    // One that was dropped to make room is no longer in the list.
    const auto it = std::find_if(conversations_.begin(), conversations_.end(), [what](const auto& c) { return &c == what; });
    if (it != conversations_.end()) Hear(it);
  }
  if (!relieved_) EndExpired();
}

void Offer::Accept(UnixListenSocket& control) {
  absl::StatusOr<UniqueFd> socket = control.Accept();
  if (!socket.ok() || !socket->valid()) return;
  const absl::StatusOr<PeerIdentity> peer = PeerOfUnixSocket(socket->get());
  if (!peer.ok()) return;
  conversations_.push_back({.socket = *std::move(socket),
                            .deadline_ns = MonotonicNs() + limit_ns_,
                            .who = DescribeProcess(peer->pid)});
  const auto fresh = std::prev(conversations_.end());
  if (peer->uid != geteuid() || peer->uid == PeerIdentity::kUnknownUid) {
    return End(fresh, absl::PermissionDeniedError(Cat("only uid ", geteuid(), " may take over from this server, not uid ", peer->uid)));
  }
  Watch(fresh->socket.get(), &*fresh);
  if (conversations_.size() <= kMaxConversations) return;
  // The one that has been given the addresses has its whole time.
  const auto idle = std::find_if(conversations_.begin(), conversations_.end(), [](const auto& c) { return !c.offered; });
  End(idle, absl::ResourceExhaustedError("too many processes ask to take over"));
}

void Offer::Hear(Iterator conversation) {
  absl::StatusOr<std::optional<Message>> message = Receive(conversation->socket.get());
  if (!message.ok()) return End(conversation, message.status());
  if (!message->has_value()) return;
  switch ((*message)->kind) {
    case Kind::kAsk:
      return OnAsk(conversation, (*message)->text);
    case Kind::kConfirm:
      return OnConfirm(conversation);
    default:
      return End(conversation, absl::InvalidArgumentError("not a message that a successor sends"));
  }
}

void Offer::OnAsk(Iterator conversation, const std::string& wanted) {
  for (const Conversation& other : conversations_) {
    if (other.offered) {
      return End(conversation, absl::UnavailableError(&other == &*conversation ? "it has asked before"
                                                                               : Cat(other.who, " is taking over already")));
    }
  }
  uint32_t offers = 0, number = 0;
  std::string_view rest = wanted;
  for (; !rest.empty(); ++number) {
    const std::string_view next = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(rest.size(), next.size() + 1));
    for (const Place& place : places_) {
      if (place.control_place != next) continue;
      std::vector<int> fds = {place.control->fd()};
      for (const int fd : place.listener->handles()) fds.push_back(fd);
      if (absl::Status sent = Send(conversation->socket.get(), Kind::kOffer, number, {}, fds); !sent.ok()) {
        return End(conversation, sent);
      }
      ++offers;
    }
  }
  if (offers == 0) return End(conversation, absl::NotFoundError("this server has none of the addresses"));
  conversation->offered = true;
  if (absl::Status sent = Send(conversation->socket.get(), Kind::kOffered, offers); !sent.ok()) End(conversation, sent);
}

void Offer::OnConfirm(Iterator conversation) {
  if (!conversation->offered) return End(conversation, absl::InvalidArgumentError("a confirmation before anything was asked"));
  // It may have died since.
  if (HungUp(conversation->socket.get())) return End(conversation, absl::UnavailableError("it has hung up"));
  relieved_ = true;
  Log(LogSeverity::kInfo, Cat(conversation->who, " takes over; this server finishes its calls"));
  relieve_();
  for (Place& place : places_) {
    place.listener->Abandon();
    place.control->Abandon();
  }
  Send(conversation->socket.get(), Kind::kRelieved).IgnoreError();
  conversations_.clear();
  places_.clear();
}

void Offer::End(Iterator conversation, const absl::Status& refusal) {
  Send(conversation->socket.get(), Kind::kRefused, static_cast<uint32_t>(refusal.code()), MessageOf(refusal)).IgnoreError();
  // What it has said and nobody has read would have the kernel throw the refusal away.
  const int socket = conversation->socket.get();
  char unread;
  shutdown(socket, SHUT_RD);
  while (recv(socket, &unread, sizeof unread, MSG_DONTWAIT) > 0) {
  }
  if (conversation->offered) {
    Log(LogSeverity::kWarning, Cat(conversation->who, " asked to take over and did not: ", MessageOf(refusal), "; this server goes on"));
    // It may have made itself the owner already.
    for (Place& place : places_) {
      place.listener->Own().IgnoreError();
      place.control->Own().IgnoreError();
    }
  }
  conversations_.erase(conversation);
}

void Offer::EndExpired() {
  const int64_t now = MonotonicNs();
  while (!conversations_.empty() && conversations_.front().deadline_ns <= now) {
    End(conversations_.begin(), absl::DeadlineExceededError("it did not confirm in time"));
  }
  itimerspec next = {};
  if (!conversations_.empty()) next.it_value = ToTimespec(conversations_.front().deadline_ns);
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &next, nullptr);
}

}  // namespace ipcrpc::takeover
