#include "transport/shm/shm_transport.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <list>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "transport/address_parameters.h"
#include "transport/base/clock.h"
#include "transport/base/status_macros.h"
#include "transport/shm/handshake.h"
#include "transport/shm/shm_link.h"
#include "transport/trust.h"
#include "transport/unix_socket.h"

namespace ipcrpc::shm {
namespace {

constexpr UnixSocketKind kSocket = {.type = SOCK_SEQPACKET, .suffix = "shm"};
constexpr int64_t kHandshakeNs = 5'000'000'000;
constexpr std::array<std::string_view, 12> kParameters = {
    "mode", "group", "uid", "trust", "ring", "start", "spin", "segment", "wake", "lock", "prefault", "hugepages"};
constexpr size_t kMaxPending = 256;
constexpr size_t kEventsPerVisit = 64;

// Parameters: ring=64K…16M (how large a ring may grow), start=64K…16M (how large our own is at first),
// spin=auto|always|off, or for how long at the most (spin=20us); trust=peer; those of parts.h.
struct Options {
  Terms terms;
  SpinRule spin;
  bool trust = false;
};

absl::StatusOr<SpinRule> SpinOf(const Address& address) {
  const std::string* const text = FindParameter(address, "spin");
  if (text == nullptr || *text == "auto") return SpinRule();
  if (*text == "always") return SpinRule{.mode = SpinMode::kAlways};
  if (*text == "off") return SpinRule{.mode = SpinMode::kOff};
  SpinRule rule;
  std::string_view number = *text;
  const bool is_time = number.ends_with("us");
  if (is_time) number.remove_suffix(2);
  if (!is_time || !absl::SimpleAtoi(absl::string_view(number.data(), number.size()), &rule.most_us) || rule.most_us == 0 ||
      rule.most_us > SpinRule::kMostUs) {
    return BadParameter(address, "spin", "auto, always, off, or for how long at the most, from 1us to 100us");
  }
  return rule;
}

absl::StatusOr<Options> ParseOptions(const Address& address) {
  Options options;
  RingSizes& sizes = options.terms.sizes;
  for (const auto& [key, bytes] : {std::pair("start", &sizes.start_bytes), std::pair("ring", &sizes.max_bytes)}) {
    if (FindParameter(address, key) == nullptr) continue;
    ASSIGN_OR_RETURN(const uint64_t size, SizeParameter(address, key, kMinRingBytes, kMaxRingBytes));
    if (!IsRingSize(size)) return BadParameter(address, key, "a power of two from 64K to 16M");
    *bytes = static_cast<uint32_t>(size);
  }
  sizes.max_bytes = std::max(sizes.max_bytes, sizes.start_bytes);
  ASSIGN_OR_RETURN(options.terms.parts, PartsOf(address));
  // A huge page holds more than the smallest ring anyway. And a System V ring that came later would be gone with a sender that
  // ends before its reader has attached it; it costs nothing until it is touched.
  if (options.terms.parts.hugepages || options.terms.parts.segment == SegmentKind::kSysv) sizes.start_bytes = sizes.max_bytes;
  ASSIGN_OR_RETURN(options.spin, SpinOf(address));
  ASSIGN_OR_RETURN(options.trust, TrustParameter(address));
  return options;
}

// Waits for greetings in an epoll of its own, so that a client that says nothing delays nobody.
class ShmListener final : public Listener {
 public:
  ShmListener(const Address& address, Options options, std::unique_ptr<UnixListenSocket> socket)
      : address_(address), options_(options), socket_(std::move(socket)), epoll_(epoll_create1(EPOLL_CLOEXEC)),
        timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    Watch(socket_->fd(), nullptr);
    Watch(timer_.get(), &timer_);
  }

  const Address& address() const override { return address_; }
  int fd() const override { return epoll_.get(); }

  void OnReadable(const std::function<void(std::unique_ptr<Link>)>& on_link) override {
    epoll_event events[kEventsPerVisit];
    const int count = epoll_wait(epoll_.get(), events, kEventsPerVisit, 0);
    for (int i = 0; i < count; ++i) {
      void* const what = events[i].data.ptr;
      if (what == nullptr) {
        if (!retired_) AcceptSome(on_link);
      } else if (what != &timer_) {
        // Accepting may have dropped it to make room; then it is no longer in the list.
        const auto it = std::find_if(pending_.begin(), pending_.end(), [what](const Pending& p) { return &p == what; });
        if (it != pending_.end()) Greet(it, on_link);
      }
    }
    DropExpired();
    pending_count_ = pending_.size();
  }

  bool Retire() override {
    if (!retired_.exchange(true)) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket_->fd(), nullptr);
    return pending_count_ == 0;
  }
  std::vector<int> handles() const override { return socket_->handles(); }
  absl::Status Own() override { return socket_->Own(); }
  void Abandon() override { socket_->Abandon(); }

 private:
  struct Pending {
    UniqueFd socket;
    int64_t deadline_ns;
  };

  void Watch(int fd, void* what) {
    epoll_event event = {.events = EPOLLIN, .data = {.ptr = what}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  void AcceptSome(const std::function<void(std::unique_ptr<Link>)>& on_link) {
    for (size_t i = 0; i < kEventsPerVisit; ++i) {
      absl::StatusOr<UniqueFd> socket = socket_->Accept();
      if (!socket.ok()) continue;
      if (!socket->valid()) return;
      absl::StatusOr<std::optional<Datagram>> hello = ReceiveDatagram(socket->get());
      if (!hello.ok() || hello->has_value()) {  // the greeting is often there already
        Answer(*std::move(socket), std::move(hello), on_link);
        continue;
      }
      if (pending_.size() >= kMaxPending) pending_.pop_front();
      pending_.push_back({*std::move(socket), MonotonicNs() + kHandshakeNs});
      Watch(pending_.back().socket.get(), &pending_.back());
    }
  }

  void Greet(std::list<Pending>::iterator pending, const std::function<void(std::unique_ptr<Link>)>& on_link) {
    absl::StatusOr<std::optional<Datagram>> hello = ReceiveDatagram(pending->socket.get());
    if (hello.ok() && !hello->has_value()) return;
    UniqueFd socket = std::move(pending->socket);
    pending_.erase(pending);
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket.get(), nullptr);
    Answer(std::move(socket), std::move(hello), on_link);
  }

  // `hello` came, or nothing will.
  void Answer(UniqueFd socket, absl::StatusOr<std::optional<Datagram>> hello,
              const std::function<void(std::unique_ptr<Link>)>& on_link) {
    if (!hello.ok()) return Refuse(socket.get(), hello.status());
    absl::StatusOr<PeerIdentity> peer = PeerOfUnixSocket(socket.get());
    if (!peer.ok()) return Refuse(socket.get(), peer.status());
    absl::StatusOr<Agreement> agreement = shm::Answer(socket.get(), *peer, **std::move(hello), options_.terms);
    if (!agreement.ok()) return;
    on_link(std::make_unique<ShmLink>(std::move(socket), *std::move(agreement), *peer,
                                      absl::StrCat("shm:", socket_->place()), options_.spin, options_.trust && OfOurUid(*peer)));
  }

  void DropExpired() {
    const int64_t now = MonotonicNs();
    while (!pending_.empty() && pending_.front().deadline_ns <= now) pending_.pop_front();
    const int64_t next_ns = pending_.empty() ? 0 : pending_.front().deadline_ns;
    if (std::exchange(timer_ns_, next_ns) == next_ns) return;
    itimerspec next = {};
    if (next_ns != 0) next.it_value = ToTimespec(next_ns);
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &next, nullptr);
  }

  const Address address_;
  const Options options_;
  const std::unique_ptr<UnixListenSocket> socket_;
  const UniqueFd epoll_;
  UniqueFd timer_;
  int64_t timer_ns_ = 0;  // for when it is set; 0: it is not
  std::list<Pending> pending_;  // oldest first
  std::atomic<size_t> pending_count_{0};
  std::atomic<bool> retired_{false};
};

absl::StatusOr<std::unique_ptr<Listener>> ListenShm(const Address& address) {
  ASSIGN_OR_RETURN(const Options options, ParseOptions(address));
  RETURN_IF_ERROR(CheckAvailable(options.terms.parts));
  ASSIGN_OR_RETURN(std::unique_ptr<UnixListenSocket> socket, UnixListenSocket::Bind(address, kSocket));
  return std::make_unique<ShmListener>(address, options, std::move(socket));
}

absl::StatusOr<std::unique_ptr<Listener>> AdoptShm(const Address& address, std::vector<UniqueFd> handles) {
  ASSIGN_OR_RETURN(const Options options, ParseOptions(address));
  ASSIGN_OR_RETURN(std::unique_ptr<UnixListenSocket> socket, UnixListenSocket::Adopt(address, kSocket, std::move(handles)));
  return std::make_unique<ShmListener>(address, options, std::move(socket));
}

absl::StatusOr<std::unique_ptr<Link>> ConnectShm(const Address& address, int64_t deadline_ns) {
  ASSIGN_OR_RETURN(const Options options, ParseOptions(address));
  // Made before, the greeting is there when the server hears of the connection, and it need not be told twice. Parts that are for
  // trusted peers wait until the peer is known, and what does not work is tried again there, to say so.
  std::optional<OwnSide> own;
  if (options.terms.parts.standard()) {
    if (absl::StatusOr<OwnSide> made = MakeOwnSide(options.terms); made.ok()) own = *std::move(made);
  }
  ASSIGN_OR_RETURN(UnixConnection connection, ConnectUnixSocket(address, kSocket, deadline_ns));
  RETURN_IF_ERROR(CheckTrust(address, connection.peer));
  ASSIGN_OR_RETURN(Agreement agreement, Introduce(connection.fd.get(), connection.peer, options.terms,
                                                  std::min(deadline_ns, MonotonicNs() + kHandshakeNs), options.spin, std::move(own)));
  return std::make_unique<ShmLink>(std::move(connection.fd), std::move(agreement), connection.peer,
                                   absl::StrCat("shm:", connection.place), options.spin, options.trust);
}

}  // namespace

Scheme ShmScheme() {
  return {
      .name = "shm",
      .summary = "rings in shared memory, spin then futex; the fast path",
      .capabilities = kCapabilities,
      .parameters = kParameters,
      .automatic = true,
      .listen = ListenShm,
      .connect = ConnectShm,
      .adopt = AdoptShm,
  };
}

}  // namespace ipcrpc::shm
