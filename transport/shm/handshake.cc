#include "transport/shm/handshake.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "transport/base/clock.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/base/ticks.h"
#include "transport/shm/ledger.h"

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

// An answer that comes soon is there before a sleep for it would have ended. No longer than a sleep and a wake take, and not where
// the server may need this processor.
absl::StatusOr<std::optional<Datagram>> LookForAnswer(int socket) {
  constexpr uint64_t kAtMostUs = 50;
  constexpr int kPausesBetween = 16;
  const uint64_t began = Ticks(), budget = OneProcessorAllowed() ? 0 : kAtMostUs * TicksPerMicrosecond();
  while (Ticks() - began < budget) {
    ASSIGN_OR_RETURN(std::optional<Datagram> answer, ReceiveDatagram(socket));
    if (answer.has_value()) return answer;
    for (int i = 0; i < kPausesBetween; ++i) CpuRelax();
  }
  return std::nullopt;
}

absl::Status CheckSizes(uint32_t ring_bytes, uint32_t max_ring_bytes) {
  if (IsRingSize(ring_bytes) && IsRingSize(max_ring_bytes) && ring_bytes <= max_ring_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the peer's ring sizes ", ring_bytes, " and ", max_ring_bytes,
                                                 " are not powers of two from ", kMinRingBytes, " to ", kMaxRingBytes));
}

template <typename Body>
bool Read(const std::string& bytes, size_t offset, Body& body) {
  if (bytes.size() < offset + sizeof(body)) return false;
  std::memcpy(&body, bytes.data() + offset, sizeof(body));
  return true;
}

absl::Status SendOwnSide(int socket, std::string message, const OwnSide& own, bool with_parts) {
  if (with_parts) message.append(reinterpret_cast<const char*>(&own.body), sizeof(own.body));
  const int segment = own.memory.place.fd.get(), wake = own.bell.place.fd.get();
  if (segment < 0) return SendDatagram(socket, message.data(), message.size(), {wake});
  return SendDatagram(socket, message.data(), message.size(), {segment, wake});
}

// Checks what the peer's side is made of, and takes it. Nothing is touched before it is known to be of a kind for such a peer.
absl::Status TakePeerSide(Datagram& datagram, const PartsBody& body, std::string_view whose, const PeerIdentity& peer,
                          Agreement& agreement) {
  if (body.segment >= kSegmentKinds || body.wake >= kWakeKinds || body.page_shift < kPageShift || body.page_shift > kMaxPageShift) {
    return absl::InvalidArgumentError(Cat(whose, " parts are unknown: segment ", body.segment, ", wake ", body.wake, ", pages of 2^",
                                          body.page_shift, " bytes"));
  }
  const Parts parts = {.segment = static_cast<SegmentKind>(body.segment), .wake = static_cast<WakeKind>(body.wake),
                       .hugepages = body.page_shift != kPageShift};
  RETURN_IF_ERROR(CheckTrusted(parts, whose, peer));
  const size_t segment_fds = parts.segment == SegmentKind::kSysv ? 0 : 1;
  const size_t fds = segment_fds + (BellHasFd(parts.wake, parts.segment) ? 1 : 0);
  std::vector<UniqueFd>& came = datagram.fds.fds;
  if (datagram.fds.lost) return absl::ResourceExhaustedError(Cat("no file descriptor is free for ", whose, " parts"));
  if (came.size() != fds) {
    const size_t count = came.size();
    CloseElsewhere(std::move(came));
    return absl::InvalidArgumentError(Cat(whose, " message carries ", count, " descriptors, where its parts have ", fds));
  }
  MemoryPlace memory = {.fd = {}, .id = body.segment_id};
  BellPlace bell = {.fd = {}, .id = body.wake_id, .key = body.wake_key};
  if (segment_fds == 1) memory.fd = std::move(came[0]);
  if (fds > segment_fds) bell.fd = std::move(came[segment_fds]);
  agreement.peer_kind = {.segment = parts.segment, .page_shift = body.page_shift};
  ASSIGN_OR_RETURN(agreement.peer,
                   MapPeerMemory(agreement.peer_kind, memory, SegmentBytes(agreement.peer_ring_bytes), Sharing::kPeerReads));
  RETURN_IF_ERROR(CheckSegment(agreement.peer, body.token).status());
  ASSIGN_OR_RETURN(agreement.peer_bell, TakeBell(parts.wake, parts.segment, std::move(bell)));
  return absl::OkStatus();
}

constexpr PartsBody kStandardParts = {.segment = 0, .wake = 0, .page_shift = kPageShift, .reserved = 0, .segment_id = 0,
                                      .wake_id = 0, .wake_key = 0, .token = 0};

}  // namespace

absl::StatusOr<OwnSide> MakeOwnSide(const Terms& terms) {
  OwnSide own;
  const uint64_t token = Ledger::RandomToken();
  ASSIGN_OR_RETURN(own.memory, MakeMemory(terms.parts, SegmentBytes(terms.sizes.start_bytes), Sharing::kPeerReads));
  InitSegment(own.memory.mapping, token);
  ASSIGN_OR_RETURN(own.bell, MakeBell(terms.parts));
  own.body = {.segment = static_cast<uint8_t>(terms.parts.segment), .wake = static_cast<uint8_t>(terms.parts.wake),
              .page_shift = PageShiftOf(terms.parts), .reserved = 0, .segment_id = own.memory.place.id,
              .wake_id = own.bell.place.id, .wake_key = own.bell.place.key, .token = token};
  return own;
}

absl::StatusOr<std::optional<Datagram>> ReceiveDatagram(int socket) {
  char bytes[kMaxHandshakeBytes];
  iovec piece = {.iov_base = bytes, .iov_len = sizeof(bytes)};
  Datagram datagram;
  ssize_t got = ReceiveWithFds(socket, {&piece, 1}, &datagram.fds);
  // A peer that left something unread: said once, before what it had sent.
  if (got < 0 && errno == ECONNRESET) got = ReceiveWithFds(socket, {&piece, 1}, &datagram.fds);
  if (got < 0) {
    if (errno == EAGAIN) return std::nullopt;
    return absl::UnavailableError(absl::StrCat("the control socket failed: ", strerror(errno)));
  }
  if (got == 0 && !datagram.fds.any()) return absl::UnavailableError("the peer closed the connection");
  if (datagram.fds.too_many || datagram.fds.bytes_cut) {
    CloseElsewhere(std::move(datagram.fds.fds));
    return absl::InvalidArgumentError("the peer sent a control message that is too long or carries too many descriptors");
  }
  datagram.bytes.assign(bytes, static_cast<size_t>(got));
  return std::optional<Datagram>(std::move(datagram));
}

absl::Status SendDatagram(int socket, const void* bytes, size_t size, std::initializer_list<int> fds) {
  iovec piece = {.iov_base = const_cast<void*>(bytes), .iov_len = size};
  int valid[kMaxFdsPerMessage];
  size_t count = 0;
  for (const int fd : fds) {
    if (fd >= 0) valid[count++] = fd;
  }
  if (SendWithFds(socket, {&piece, 1}, {valid, count}) == static_cast<ssize_t>(size)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot send on the control socket: ", strerror(errno)));
}

absl::StatusOr<Agreement> Introduce(int socket, const PeerIdentity& peer, const Terms& terms, int64_t deadline_ns, SpinRule spin,
                                    std::optional<OwnSide> own) {
  RETURN_IF_ERROR(CheckTrusted(terms.parts, "the client's", peer));
  if (!own.has_value()) {
    ASSIGN_OR_RETURN(own, MakeOwnSide(terms));
  }
  const Hello hello = {.magic = kHelloMagic, .version_min = terms.parts.standard() ? kLowestVersion : kHighestVersion,
                       .version_max = kHighestVersion, .features = 0, .ring_bytes = terms.sizes.start_bytes,
                       .max_ring_bytes = terms.sizes.max_bytes, .reserved = {}};
  RETURN_IF_ERROR(SendOwnSide(socket, std::string(reinterpret_cast<const char*>(&hello), sizeof(hello)), *own, /*with_parts=*/true));

  std::optional<Datagram> answer;
  if (spin.mode != SpinMode::kOff) {
    ASSIGN_OR_RETURN(answer, LookForAnswer(socket));
  }
  while (!answer.has_value()) {
    RETURN_IF_ERROR(WaitReadable(socket, deadline_ns));
    ASSIGN_OR_RETURN(answer, ReceiveDatagram(socket));
  }
  Welcome welcome;
  if (!Read(answer->bytes, 0, welcome) || welcome.magic != kHelloMagic) {
    return absl::FailedPreconditionError("the server does not speak this protocol");
  }
  if (welcome.refused != 0) {
    return absl::Status(static_cast<absl::StatusCode>(welcome.refused),
                        absl::StrCat("the server refused: ", answer->bytes.substr(sizeof(welcome))));
  }
  if (welcome.version < hello.version_min || welcome.version > hello.version_max) {
    return absl::FailedPreconditionError(absl::StrCat("the server speaks version ", welcome.version, " of the protocol, this is ",
                                                      hello.version_min, " to ", hello.version_max));
  }
  PartsBody body = kStandardParts;
  if (welcome.version >= 2 && !Read(answer->bytes, sizeof(welcome), body)) {
    return absl::InvalidArgumentError("the server does not say what its side is made of");
  }
  RETURN_IF_ERROR(CheckSizes(welcome.ring_bytes, welcome.max_ring_bytes));
  Agreement agreement = {.own_ring_bytes = terms.sizes.start_bytes,
                         .peer_ring_bytes = welcome.ring_bytes,
                         .max_ring_bytes = std::min(terms.sizes.max_bytes, welcome.max_ring_bytes),
                         .parts = terms.parts,
                         .own = std::move(own->memory.mapping),
                         .own_bell = std::move(own->bell.bell)};
  RETURN_IF_ERROR(TakePeerSide(*answer, body, "the server's", peer, agreement));
  return agreement;
}

absl::StatusOr<Agreement> Answer(int socket, const PeerIdentity& peer, Datagram datagram, const Terms& terms) {
  const auto accept = [&]() -> absl::StatusOr<Agreement> {
    Hello hello;
    if (!Read(datagram.bytes, 0, hello) || hello.magic != kHelloMagic) {
      return absl::InvalidArgumentError("not a greeting of this protocol");
    }
    const uint16_t lowest = terms.parts.standard() ? kLowestVersion : kHighestVersion;
    if (hello.version_min > kHighestVersion || hello.version_max < lowest || hello.version_min > hello.version_max) {
      return absl::FailedPreconditionError(absl::StrCat("the server speaks versions ", lowest, " to ", kHighestVersion,
                                                        " of the protocol, the client ", hello.version_min, " to ", hello.version_max));
    }
    const uint16_t version = std::min(hello.version_max, kHighestVersion);
    PartsBody body = kStandardParts;
    if (version >= 2 && !Read(datagram.bytes, sizeof(hello), body)) {
      return absl::InvalidArgumentError("the client does not say what its side is made of");
    }
    RETURN_IF_ERROR(CheckSizes(hello.ring_bytes, hello.max_ring_bytes));
    RETURN_IF_ERROR(CheckTrusted(terms.parts, "the server's", peer));
    Agreement agreement = {.own_ring_bytes = terms.sizes.start_bytes,
                           .peer_ring_bytes = hello.ring_bytes,
                           .max_ring_bytes = std::min(terms.sizes.max_bytes, hello.max_ring_bytes),
                           .parts = terms.parts};
    RETURN_IF_ERROR(TakePeerSide(datagram, body, "the client's", peer, agreement));
    ASSIGN_OR_RETURN(OwnSide own, MakeOwnSide(terms));
    const Welcome welcome = {.magic = kHelloMagic, .version = version, .refused = 0, .features = 0,
                             .ring_bytes = terms.sizes.start_bytes, .max_ring_bytes = terms.sizes.max_bytes, .reserved = {}};
    RETURN_IF_ERROR(
        SendOwnSide(socket, std::string(reinterpret_cast<const char*>(&welcome), sizeof(welcome)), own, /*with_parts=*/version >= 2));
    agreement.own = std::move(own.memory.mapping);
    agreement.own_bell = std::move(own.bell.bell);
    return agreement;
  };
  absl::StatusOr<Agreement> agreement = accept();
  if (!agreement.ok()) Refuse(socket, agreement.status());
  return agreement;
}

void Refuse(int socket, const absl::Status& why) {
  const Welcome welcome = {.magic = kHelloMagic, .version = kHighestVersion, .refused = static_cast<uint16_t>(why.code()),
                           .features = 0, .ring_bytes = 0, .max_ring_bytes = 0, .reserved = {}};
  std::string answer(reinterpret_cast<const char*>(&welcome), sizeof(welcome));
  answer.append(std::string(why.message().substr(0, kMaxHandshakeBytes - sizeof(welcome))));
  SendDatagram(socket, answer.data(), answer.size(), {}).IgnoreError();
}

}  // namespace ipcrpc::shm
