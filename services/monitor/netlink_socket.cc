#include "services/monitor/netlink_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "services/monitor/attributes.h"

namespace ipcrpc::monitor {
namespace {

// Above the largest datagram that the kernel makes of notifications and dumps.
constexpr size_t kBufferBytes = 256 << 10;

absl::StatusOr<OwnedFd> OpenSocket(int type_flags, int protocol = NETLINK_ROUTE, uint32_t groups = 0) {
  OwnedFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | type_flags, protocol));
  if (fd.get() < 0) return absl::ErrnoToStatus(errno, "cannot open a netlink socket");
  // Refusals then come with words. Old kernels lack it, and do no harm.
  int on = 1;
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  // And without a copy of the request, of which we have the original.
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return absl::ErrnoToStatus(errno, "cannot bind a netlink socket");
  }
  return fd;
}

// Lets no classes and filters of traffic control through: they share a group with queueing disciplines,
// and there may be a great many.
absl::Status DropTrafficClasses(int fd) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(nlmsghdr, nlmsg_type)),
      // A filter reads numbers as network order, netlink writes them in the machine's.
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(htons(RTM_NEWTCLASS)), 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(htons(RTM_DELTCLASS)), 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(htons(RTM_NEWTFILTER)), 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(htons(RTM_DELTFILTER)), 1, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  sock_fprog filter{std::size(program), program};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) {
    return absl::ErrnoToStatus(errno, "cannot attach a filter to a netlink socket");
  }
  return absl::OkStatus();
}

// Without CAP_NET_ADMIN, as much as everybody may have.
void SetReceiveBuffer(int fd, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
}

// One datagram; sets `from_kernel`. The count of bytes, or -errno.
ssize_t ReceiveDatagram(int fd, std::vector<uint8_t>* buffer, bool* from_kernel) {
  sockaddr_nl sender{};
  iovec part{buffer->data(), buffer->size()};
  msghdr message{};
  message.msg_name = &sender;
  message.msg_namelen = sizeof sender;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ssize_t size;
  do {
    size = recvmsg(fd, &message, 0);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return -errno;
  if (message.msg_flags & MSG_TRUNC) return -EMSGSIZE;
  *from_kernel = message.msg_namelen == sizeof sender && sender.nl_family == AF_NETLINK && sender.nl_pid == 0;
  return size;
}

// Calls `visit` for each complete message of a datagram.
void ForEachMessage(const std::vector<uint8_t>& buffer, size_t size, const MessageVisitor& visit) {
  int left = static_cast<int>(size);
  auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
  while (mnl_nlmsg_ok(message, left)) {
    visit(message);
    message = mnl_nlmsg_next(message, &left);
  }
}

// The kernel's answer to a request it refuses: a number, and maybe words behind `skip` bytes.
absl::Status Refusal(const nlmsghdr* message, int error, size_t skip) {
  std::string words = "the kernel refused a netlink request";
  if (message->nlmsg_flags & NLM_F_ACK_TLVS) {
    Attributes attrs(AttributeBytes(message, skip), NLMSGERR_ATTR_MAX);
    if (attrs.Has(NLMSGERR_ATTR_MSG)) absl::StrAppend(&words, " (", std::string(attrs.String(NLMSGERR_ATTR_MSG)), ")");
  }
  return absl::ErrnoToStatus(-error, words);
}

// Of NLMSG_ERROR and NLMSG_DONE alike: the number they begin with.
absl::Status AnswerStatus(const nlmsghdr* message) {
  int32_t error = 0;
  if (mnl_nlmsg_get_payload_len(message) < sizeof error) {
    return absl::DataLossError("netlink answer too short for its error number");
  }
  __builtin_memcpy(&error, mnl_nlmsg_get_payload(message), sizeof error);
  if (error >= 0) return absl::OkStatus();
  size_t skip = sizeof error;
  if (message->nlmsg_type == NLMSG_ERROR) {
    // Behind the number stands the request: whole, or its header alone.
    nlmsghdr request{};
    if (mnl_nlmsg_get_payload_len(message) >= sizeof(nlmsgerr)) {
      __builtin_memcpy(&request, static_cast<const uint8_t*>(mnl_nlmsg_get_payload(message)) + sizeof error,
                       sizeof request);
    }
    bool capped = message->nlmsg_flags & NLM_F_CAPPED;
    skip += capped ? sizeof(nlmsghdr) : std::max<size_t>(request.nlmsg_len, sizeof(nlmsghdr));
  }
  return Refusal(message, error, skip);
}

}  // namespace

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

NetlinkFeed::NetlinkFeed(OwnedFd fd) : fd_(std::move(fd)), buffer_(kBufferBytes) {}

absl::StatusOr<NetlinkFeed> NetlinkFeed::Open(int protocol, uint32_t group, int buffer_bytes) {
  auto fd = OpenSocket(SOCK_NONBLOCK, protocol, group);
  if (!fd.ok()) return fd.status();
  SetReceiveBuffer(fd->get(), buffer_bytes);
  return NetlinkFeed(std::move(*fd));
}

absl::StatusOr<std::span<const uint8_t>> NetlinkFeed::Receive() {
  bool from_kernel = false;
  ssize_t size = ReceiveDatagram(fd_.get(), &buffer_, &from_kernel);
  if (size == -EAGAIN) return std::span<const uint8_t>();
  if (size == -ENOBUFS || size == -EMSGSIZE) return absl::ResourceExhaustedError("some were lost");
  if (size < 0) return absl::ErrnoToStatus(static_cast<int>(-size), "cannot receive from a netlink socket");
  return std::span<const uint8_t>(buffer_.data(), from_kernel ? static_cast<size_t>(size) : 0);
}

NetlinkEvents::NetlinkEvents(OwnedFd fd, int buffer_bytes)
    : fd_(std::move(fd)), buffer_bytes_(buffer_bytes), buffer_(kBufferBytes) {}

absl::StatusOr<NetlinkEvents> NetlinkEvents::Open(const std::vector<int>& groups, int buffer_bytes) {
  auto fd = OpenSocket(SOCK_NONBLOCK);
  if (!fd.ok()) return fd.status();
  if (absl::Status status = DropTrafficClasses(fd->get()); !status.ok()) return status;
  SetReceiveBuffer(fd->get(), buffer_bytes);
  for (int group : groups) {
    if (setsockopt(fd->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot join rtnetlink group ", group));
    }
  }
  // The kernel says twice what it gives, as half is for its own bookkeeping.
  int given = 0;
  socklen_t size = sizeof given;
  getsockopt(fd->get(), SOL_SOCKET, SO_RCVBUF, &given, &size);
  return NetlinkEvents(std::move(*fd), given / 2);
}

absl::StatusOr<NetlinkEvents::Result> NetlinkEvents::Receive(const MessageVisitor& visit) {
  bool from_kernel = false;
  ssize_t size = ReceiveDatagram(fd_.get(), &buffer_, &from_kernel);
  if (size == -EAGAIN) return Result::kEmpty;
  // A datagram too large for the buffer is as lost as one that never came.
  if (size == -ENOBUFS || size == -EMSGSIZE) return Result::kOverrun;
  if (size < 0) return absl::ErrnoToStatus(static_cast<int>(-size), "cannot receive rtnetlink notifications");
  if (!from_kernel) {
    ++foreign_datagrams_;
    return Result::kMessages;
  }
  ForEachMessage(buffer_, static_cast<size_t>(size), visit);
  return Result::kMessages;
}

NetlinkQuery::NetlinkQuery(OwnedFd fd) : fd_(std::move(fd)), buffer_(kBufferBytes) {}

absl::StatusOr<NetlinkQuery> NetlinkQuery::Open() {
  auto fd = OpenSocket(0);
  if (!fd.ok()) return fd.status();
  // The kernel then refuses what it would otherwise ignore in a request, such as a filter it lacks.
  int on = 1;
  setsockopt(fd->get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  timeval limit{.tv_sec = 5, .tv_usec = 0};
  if (setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) {
    return absl::ErrnoToStatus(errno, "cannot set the time limit of a netlink socket");
  }
  return NetlinkQuery(std::move(*fd));
}

absl::Status NetlinkQuery::Send(nlmsghdr* request, uint16_t flags) {
  request->nlmsg_flags = NLM_F_REQUEST | flags;
  request->nlmsg_seq = ++sequence_;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent = sendto(fd_.get(), request, request->nlmsg_len, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  return sent < 0 ? absl::ErrnoToStatus(errno, "cannot send a netlink request") : absl::OkStatus();
}

absl::StatusOr<NetlinkQuery::Progress> NetlinkQuery::Receive(bool is_dump, bool* interrupted,
                                                             const MessageVisitor& visit) {
  bool from_kernel = false;
  ssize_t size = ReceiveDatagram(fd_.get(), &buffer_, &from_kernel);
  if (size == -EAGAIN) return absl::DeadlineExceededError("the kernel did not answer a netlink request in 5 s");
  if (size < 0) return absl::ErrnoToStatus(static_cast<int>(-size), "cannot receive a netlink answer");
  if (!from_kernel) return Progress::kMore;
  absl::Status status;
  bool done = false;
  ForEachMessage(buffer_, static_cast<size_t>(size), [&](const nlmsghdr* message) {
    // An answer to an earlier request, given up on.
    if (done || message->nlmsg_seq != sequence_) return;
    if (message->nlmsg_flags & NLM_F_DUMP_INTR) *interrupted = true;
    if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
      status = AnswerStatus(message);
      done = true;
    } else if (message->nlmsg_type >= NLMSG_MIN_TYPE) {
      visit(message);
      done = !is_dump && !(message->nlmsg_flags & NLM_F_MULTI);
    }
  });
  if (!status.ok()) return status;
  return done ? Progress::kDone : Progress::kMore;
}

absl::Status NetlinkQuery::Dump(nlmsghdr* request, int tries, const std::function<void(int attempt)>& begin_again,
                                const MessageVisitor& visit) {
  for (int attempt = 0; attempt < tries; ++attempt) {
    if (attempt > 0) begin_again(attempt);
    if (absl::Status status = Send(request, NLM_F_DUMP); !status.ok()) return status;
    bool interrupted = false;
    Progress progress = Progress::kMore;
    while (progress == Progress::kMore) {
      auto received = Receive(/*is_dump=*/true, &interrupted, visit);
      if (!received.ok()) return received.status();
      progress = *received;
    }
    if (!interrupted) return absl::OkStatus();
  }
  return absl::AbortedError(absl::StrCat("what was listed changed while it was listed, ", tries, " times"));
}

absl::Status NetlinkQuery::Get(nlmsghdr* request, const MessageVisitor& visit) {
  if (absl::Status status = Send(request, 0); !status.ok()) return status;
  bool interrupted = false;
  for (;;) {
    auto received = Receive(/*is_dump=*/false, &interrupted, visit);
    if (!received.ok()) return received.status();
    if (*received == Progress::kDone) return absl::OkStatus();
  }
}

}  // namespace ipcrpc::monitor
