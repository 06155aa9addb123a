#include "transport/shm/handshake.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "transport/base/clock.h"
#include "transport/base/status_macros.h"

namespace ipcrpc::shm {
namespace {

absl::Status WaitReadable(int socket, int64_t deadline_ns) {
  for (;;) {
    const int64_t left_ns = deadline_ns == kNoDeadline ? -1 : deadline_ns - MonotonicNs();
    if (deadline_ns != kNoDeadline && left_ns <= 0) return absl::DeadlineExceededError("the server did not answer in time");
    const timespec left = ToTimespec(left_ns);
    pollfd entry = {.fd = socket, .events = POLLIN, .revents = 0};
    const int ready = ppoll(&entry, 1, deadline_ns == kNoDeadline ? nullptr : &left, nullptr);
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "cannot wait for the server's answer");
  }
}

absl::Status CheckSizes(uint32_t ring_bytes, uint32_t max_ring_bytes) {
  if (IsRingSize(ring_bytes) && IsRingSize(max_ring_bytes) && ring_bytes <= max_ring_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the peer's ring sizes ", ring_bytes, " and ", max_ring_bytes,
                                                 " are not powers of two from ", kMinRingBytes, " to ", kMaxRingBytes));
}

absl::StatusOr<Mapping> MapPeerSegment(const UniqueFd& fd, uint32_t ring_bytes) {
  if (!fd.valid()) return absl::InvalidArgumentError("the peer sent no shared memory");
  ASSIGN_OR_RETURN(Mapping mapping, MapPeerMemory(fd, SegmentBytes(ring_bytes)));
  RETURN_IF_ERROR(CheckSegment(mapping).status());
  return mapping;
}

}  // namespace

absl::StatusOr<std::optional<Datagram>> ReceiveDatagram(int socket) {
  char bytes[kMaxHandshakeBytes];
  alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
  iovec piece = {.iov_base = bytes, .iov_len = sizeof(bytes)};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return std::nullopt;
    return absl::UnavailableError(absl::StrCat("the control socket failed: ", strerror(errno)));
  }
  Datagram datagram;
  int count = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t fds = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < fds; ++i, ++count) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      datagram.fd.reset(fd);  // closes the one before
    }
  }
  if (got == 0 && count == 0) return absl::UnavailableError("the peer closed the connection");
  if (count > 1 || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) {
    return absl::InvalidArgumentError("the peer sent a control message that is too long or carries too many descriptors");
  }
  datagram.bytes.assign(bytes, static_cast<size_t>(got));
  return std::optional<Datagram>(std::move(datagram));
}

absl::Status SendDatagram(int socket, const void* bytes, size_t size, int fd) {
  iovec piece = {.iov_base = const_cast<void*>(bytes), .iov_len = size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(part), &fd, sizeof(int));
  }
  if (sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(size)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot send on the control socket: ", strerror(errno)));
}

absl::StatusOr<Agreement> Introduce(int socket, RingSizes sizes, int64_t deadline_ns) {
  Agreement agreement;
  agreement.own_ring_bytes = sizes.start_bytes;
  ASSIGN_OR_RETURN(agreement.own, MakeMemory(SegmentBytes(sizes.start_bytes)));
  InitSegment(agreement.own.mapping);
  const Hello hello = {.magic = kHelloMagic, .version_min = kProtocolVersion, .version_max = kProtocolVersion,
                       .features = 0, .ring_bytes = sizes.start_bytes, .max_ring_bytes = sizes.max_bytes, .reserved = {}};
  RETURN_IF_ERROR(SendDatagram(socket, &hello, sizeof(hello), agreement.own.fd.get()));

  std::optional<Datagram> answer;
  while (!answer.has_value()) {
    RETURN_IF_ERROR(WaitReadable(socket, deadline_ns));
    ASSIGN_OR_RETURN(answer, ReceiveDatagram(socket));
  }
  Welcome welcome;
  if (answer->bytes.size() < sizeof(welcome)) return absl::FailedPreconditionError("the server does not speak this protocol");
  std::memcpy(&welcome, answer->bytes.data(), sizeof(welcome));
  if (welcome.magic != kHelloMagic) return absl::FailedPreconditionError("the server does not speak this protocol");
  if (welcome.refused != 0) {
    return absl::Status(static_cast<absl::StatusCode>(welcome.refused),
                        absl::StrCat("the server refused: ", answer->bytes.substr(sizeof(welcome))));
  }
  if (welcome.version != kProtocolVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the server speaks version ", welcome.version, " of the protocol, this is ",
                                                      kProtocolVersion));
  }
  RETURN_IF_ERROR(CheckSizes(welcome.ring_bytes, welcome.max_ring_bytes));
  agreement.peer_ring_bytes = welcome.ring_bytes;
  agreement.max_ring_bytes = std::min(sizes.max_bytes, welcome.max_ring_bytes);
  ASSIGN_OR_RETURN(agreement.peer, MapPeerSegment(answer->fd, welcome.ring_bytes));
  return agreement;
}

absl::StatusOr<Agreement> Answer(int socket, Datagram datagram, RingSizes sizes) {
  const auto accept = [&]() -> absl::StatusOr<Agreement> {
    Hello hello;
    if (datagram.bytes.size() < sizeof(hello)) return absl::InvalidArgumentError("not a greeting of this protocol");
    std::memcpy(&hello, datagram.bytes.data(), sizeof(hello));
    if (hello.magic != kHelloMagic) return absl::InvalidArgumentError("not a greeting of this protocol");
    if (hello.version_min > kProtocolVersion || hello.version_max < kProtocolVersion) {
      return absl::FailedPreconditionError(absl::StrCat("the server speaks version ", kProtocolVersion, " of the protocol, the client ",
                                                        hello.version_min, " to ", hello.version_max));
    }
    RETURN_IF_ERROR(CheckSizes(hello.ring_bytes, hello.max_ring_bytes));
    Agreement agreement;
    agreement.own_ring_bytes = sizes.start_bytes;
    agreement.peer_ring_bytes = hello.ring_bytes;
    agreement.max_ring_bytes = std::min(sizes.max_bytes, hello.max_ring_bytes);
    ASSIGN_OR_RETURN(agreement.peer, MapPeerSegment(datagram.fd, hello.ring_bytes));
    ASSIGN_OR_RETURN(agreement.own, MakeMemory(SegmentBytes(sizes.start_bytes)));
    InitSegment(agreement.own.mapping);
    const Welcome welcome = {.magic = kHelloMagic, .version = kProtocolVersion, .refused = 0, .features = 0,
                             .ring_bytes = sizes.start_bytes, .max_ring_bytes = sizes.max_bytes, .reserved = {}};
    RETURN_IF_ERROR(SendDatagram(socket, &welcome, sizeof(welcome), agreement.own.fd.get()));
    return agreement;
  };
  absl::StatusOr<Agreement> agreement = accept();
  if (!agreement.ok()) Refuse(socket, agreement.status());
  return agreement;
}

void Refuse(int socket, const absl::Status& why) {
  const Welcome welcome = {.magic = kHelloMagic, .version = kProtocolVersion, .refused = static_cast<uint16_t>(why.code()),
                           .features = 0, .ring_bytes = 0, .max_ring_bytes = 0, .reserved = {}};
  std::string answer(reinterpret_cast<const char*>(&welcome), sizeof(welcome));
  answer.append(std::string(why.message().substr(0, kMaxHandshakeBytes - sizeof(welcome))));
  SendDatagram(socket, answer.data(), answer.size(), -1).IgnoreError();
}

}  // namespace ipcrpc::shm
