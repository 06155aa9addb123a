#include "transport/inherited/socketpair_transport.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/inherited/adopt.h"
#include "transport/stream/buffer_size.h"
#include "transport/stream/framing.h"
#include "transport/stream/socket_medium.h"
#include "transport/stream/stream_link.h"

namespace ipcrpc {
namespace {

constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .passes_fds = true, .credentials = true, .pollable = true, .detects_death = true,
    .many_connections = false};
constexpr std::string_view kParameters[] = {"buffer"};
constexpr std::array<uint8_t, 8> kGreeting = {'i', 'p', 'c', 'C', 1, 0, 0, 0};
// For a caller without a deadline: the peer may still have to be started.
constexpr int64_t kGreetingNs = 20'000'000'000;

void SetPassCredentials(int fd, int on) { setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on); }

absl::Status Gone(const std::string& description) {
  return absl::UnavailableError(Cat("the peer at ", description, " is gone: it hung up before it greeted"));
}

absl::StatusOr<std::unique_ptr<SocketpairGreeter>> StartAt(const Address& address) {
  ASSIGN_OR_RETURN(const int buffer, stream::BufferParameter(address));
  const std::optional<int> number = ParseNumber<int>(address.rest);
  if (!number || *number < 0) {
    return absl::InvalidArgumentError(
        Cat("address '", address.ToString(), "': expected the number of a descriptor, like socketpair:3"));
  }
  const std::string name = Cat("descriptor ", *number);
  RETURN_IF_ERROR(CheckAdoptable(*number, AdoptFor::kBoth, name));
  int domain = 0;
  socklen_t size = sizeof domain;
  if (getsockopt(*number, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) {
    return absl::FailedPreconditionError(
        Cat(name, " is no unix socket, so it carries no credentials; pipe:", *number, ",", *number, " does without"));
  }
  RETURN_IF_ERROR(stream::SetBuffer(*number, buffer));
  ASSIGN_OR_RETURN(UniqueFd socket, Adopt(*number, name));
  return SocketpairGreeter::Start(std::move(socket), address.ToString());
}

// Waits for the greeting in an epoll of its own, which falls silent when that has come, or never will.
class SocketpairListener final : public Listener {
 public:
  SocketpairListener(Address address, std::unique_ptr<SocketpairGreeter> greeter)
      : address_(std::move(address)), greeter_(std::move(greeter)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data = {}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, greeter_->fd(), &event);
  }

  const Address& address() const override { return address_; }
  int fd() const override { return epoll_.get(); }

  void OnReadable(const std::function<void(std::unique_ptr<Link>)>& on_link) override {
    if (greeter_ == nullptr) return;
    const int fd = greeter_->fd();
    absl::StatusOr<std::unique_ptr<Link>> link = greeter_->Finish();
    if (link.ok() && *link == nullptr) return;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    greeter_.reset();
    if (link.ok()) on_link(*std::move(link));
  }

  bool exhausted() const override { return greeter_ == nullptr; }

 private:
  const Address address_;
  std::unique_ptr<SocketpairGreeter> greeter_;
  const UniqueFd epoll_;
};

absl::StatusOr<std::unique_ptr<Listener>> ListenSocketpair(const Address& address) {
  ASSIGN_OR_RETURN(std::unique_ptr<SocketpairGreeter> greeter, StartAt(address));
  return std::make_unique<SocketpairListener>(address, std::move(greeter));
}

absl::StatusOr<std::unique_ptr<Link>> ConnectSocketpair(const Address& address, int64_t deadline_ns) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SocketpairGreeter> greeter, StartAt(address));
  deadline_ns = std::min(deadline_ns, MonotonicNs() + kGreetingNs);
  while (true) {
    ASSIGN_OR_RETURN(std::unique_ptr<Link> link, greeter->Finish());
    if (link != nullptr) return link;
    const int64_t left_ns = deadline_ns - MonotonicNs();
    if (left_ns <= 0) {
      return absl::DeadlineExceededError(Cat("nobody greeted at ", address.ToString(), " in time; does a server listen there?"));
    }
    pollfd readable = {.fd = greeter->fd(), .events = POLLIN, .revents = 0};
    const timespec timeout = ToTimespec(left_ns);
    ppoll(&readable, 1, &timeout, nullptr);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<SocketpairGreeter>> SocketpairGreeter::Start(UniqueFd socket, const std::string& description) {
  auto greeter = std::unique_ptr<SocketpairGreeter>(new SocketpairGreeter(std::move(socket), description));
  SetPassCredentials(greeter->fd(), 1);
  RETURN_IF_ERROR(greeter->Send());
  return greeter;
}

absl::Status SocketpairGreeter::Send() {
  const ucred own = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof own)] = {};
  iovec bytes = {.iov_base = const_cast<uint8_t*>(kGreeting.data()), .iov_len = kGreeting.size()};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_CREDENTIALS;
  header->cmsg_len = CMSG_LEN(sizeof own);
  std::memcpy(CMSG_DATA(header), &own, sizeof own);
  const ssize_t sent = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(kGreeting.size())) return absl::OkStatus();
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return Gone(description_);
  return absl::UnavailableError(Cat("cannot greet the peer at ", description_, ": ",
                                    sent < 0 ? strerror(errno) : "the socket is full"));
}

absl::StatusOr<std::unique_ptr<Link>> SocketpairGreeter::Finish(std::function<std::string()> epitaph) {
  while (received_bytes_ < kGreeting.size()) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
    iovec bytes = {.iov_base = received_.data() + received_bytes_, .iov_len = kGreeting.size() - received_bytes_};
    msghdr message = {};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return std::unique_ptr<Link>();
    if (got <= 0) return Gone(description_);
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    ucred peer;
    if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS ||
        header->cmsg_len != CMSG_LEN(sizeof peer)) {
      return absl::InternalError(Cat("the peer at ", description_, " did not say who it is"));
    }
    std::memcpy(&peer, CMSG_DATA(header), sizeof peer);
    if (received_bytes_ != 0 && (peer.pid != peer_.pid || peer.uid != peer_.uid)) {
      return absl::InternalError(Cat("two processes speak at once at ", description_));
    }
    peer_ = {.pid = peer.pid, .uid = peer.uid, .gid = peer.gid, .vouched = true};
    received_bytes_ += static_cast<size_t>(got);
    if (std::memcmp(received_.data(), kGreeting.data(), received_bytes_) != 0) {
      return absl::InternalError(Cat("the peer at ", description_, " does not greet as socketpair: does (",
                                     peer_.ToString(), ")"));
    }
  }
  SetPassCredentials(socket_.get(), 0);
  return std::make_unique<StreamLink>(
      std::make_unique<stream::SocketMedium>(std::move(socket_)),
      StreamLink::Options{.capabilities = kCapabilities, .peer = peer_, .description = description_, .epitaph = std::move(epitaph)});
}

const Scheme& SocketpairScheme() {
  static constexpr Scheme kScheme = {
      .name = "socketpair",
      .summary = "byte stream over an inherited Unix socket",
      .capabilities = kCapabilities,
      .parameters = kParameters,
      .listen = ListenSocketpair,
      .connect = ConnectSocketpair,
  };
  return kScheme;
}

}  // namespace ipcrpc
