// The two messages that set a connection up on its control socket: one round trip. docs/wire.md has the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/base/scm_rights.h"
#include "transport/base/spin.h"
#include "transport/peer.h"
#include "transport/shm/bell.h"
#include "transport/shm/memory.h"
#include "transport/shm/parts.h"
#include "transport/shm/segment.h"

namespace ipcrpc::shm {

// Client to server, with the descriptors of what is the client's; PartsBody follows when it speaks version 2.
struct Hello {
  uint32_t magic;
  uint16_t version_min, version_max;
  uint32_t features;        // unknown bits are ignored
  uint32_t ring_bytes;      // of the client's segment
  uint32_t max_ring_bytes;  // to which either side may grow its ring
  uint32_t reserved[3];     // zero; not looked at
};
static_assert(sizeof(Hello) == 32);

// Server to client, with the descriptors of what is the server's; PartsBody follows in version 2. Or, when `refused`, the
// reason follows as text.
struct Welcome {
  uint32_t magic;
  uint16_t version;
  uint16_t refused;  // absl::StatusCode of the refusal, 0: welcome
  uint32_t features;
  uint32_t ring_bytes;
  uint32_t max_ring_bytes;
  uint32_t reserved[3];
};
static_assert(sizeof(Welcome) == 32);

// What the sender's side is made of. Its descriptors, in this order: of the segment (memfd, posix), of the bell (eventfd,
// sem in memory with a descriptor).
struct PartsBody {
  uint8_t segment;      // SegmentKind
  uint8_t wake;         // WakeKind
  uint8_t page_shift;   // of the segment's pages: 12, or of huge ones
  uint8_t reserved;     // zero
  int32_t segment_id;   // sysv
  int32_t wake_id;      // sysvsem; sem in System V memory
  uint32_t wake_key;    // sysvsem
  uint64_t token;       // in the segment, too
};
static_assert(sizeof(PartsBody) == 24);

inline constexpr uint32_t kHelloMagic = 0x4843'5049;  // "IPCH"
inline constexpr uint16_t kLowestVersion = 1;  // memfd and futex alone, no PartsBody
inline constexpr uint16_t kHighestVersion = 2;
inline constexpr size_t kMaxHandshakeBytes = 512;

// On the control socket of a running connection: a doorbell, or the memory for a coming kSwap record.
struct SwapNotice {
  char type;  // 'S'
  char reserved[3];
  uint32_t number;
  uint32_t ring_bytes;
  int32_t id;  // of System V memory; of others there is a descriptor, and this is left out
};
static_assert(sizeof(SwapNotice) == 16);
inline constexpr size_t kSwapNoticeBytes = offsetof(SwapNotice, id);

// Descriptors that a frame of the ring will announce; with them.
struct FdNotice {
  char type;  // 'F'
  char reserved[3];
  uint32_t parcel;  // counted from 1
};
static_assert(sizeof(FdNotice) == 8);

// A datagram with the descriptors that it carried. More than there can be, or a truncated message, is an error and all are
// closed.
struct Datagram {
  std::string bytes;
  ArrivedFds fds;
};
// OK and nullopt: nothing there now. UNAVAILABLE: the peer has closed. INVALID_ARGUMENT: a wrong message.
absl::StatusOr<std::optional<Datagram>> ReceiveDatagram(int socket);
// UNAVAILABLE: the peer is gone, or its queue is full.
absl::Status SendDatagram(int socket, const void* bytes, size_t size, std::initializer_list<int> fds);  // those >= 0

struct RingSizes {
  uint32_t start_bytes = kMinRingBytes;
  uint32_t max_bytes = 1024 * 1024;
};

// What one side brings into a connection.
struct Terms {
  RingSizes sizes;
  Parts parts;
};

// What both sides agreed on, and the parts of both.
struct Agreement {
  uint32_t own_ring_bytes = 0;
  uint32_t peer_ring_bytes = 0;
  uint32_t max_ring_bytes = 0;
  Parts parts{};  // of our side
  Mapping own{};
  std::unique_ptr<Bell> own_bell{};
  PeerMemoryKind peer_kind{};
  Mapping peer{};
  std::unique_ptr<Bell> peer_bell{};
};

// What is ours, and how the peer is told of it.
struct OwnSide {
  OwnMemory memory;
  OwnBell bell;
  PartsBody body;
};
absl::StatusOr<OwnSide> MakeOwnSide(const Terms& terms);

// Client: connected socket to agreement, by the deadline. `own` may have been made before, where its parts are standard ones. It
// looks for the answer for a while before it sleeps, unless `spin` is kOff. PERMISSION_DENIED and others: the server's refusal, with
// its reason, or ours of what is for processes of one uid; FAILED_PRECONDITION: versions, or parts that the system
// refuses; RESOURCE_EXHAUSTED: parts that there are no more of; DEADLINE_EXCEEDED; UNAVAILABLE: it hung up.
absl::StatusOr<Agreement> Introduce(int socket, const PeerIdentity& peer, const Terms& terms, int64_t deadline_ns,
                                    SpinRule spin = {}, std::optional<OwnSide> own = std::nullopt);
// Server: what the client said, answered. On error the client has been told.
absl::StatusOr<Agreement> Answer(int socket, const PeerIdentity& peer, Datagram hello, const Terms& terms);
void Refuse(int socket, const absl::Status& why);

}  // namespace ipcrpc::shm
