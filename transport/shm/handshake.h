// The two messages that set a connection up on its control socket: one round trip. docs/wire.md has the bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/shm/segment.h"

namespace ipcrpc::shm {

// Client to server, with the memfd of the client's segment.
struct Hello {
  uint32_t magic;
  uint16_t version_min, version_max;
  uint32_t features;        // unknown bits are ignored
  uint32_t ring_bytes;      // of the client's segment
  uint32_t max_ring_bytes;  // to which either side may grow its ring
  uint32_t reserved[3];     // zero; not looked at
};
static_assert(sizeof(Hello) == 32);

// Server to client, with the memfd of the server's segment; or, when `refused`, with the reason as text after it.
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

inline constexpr uint32_t kHelloMagic = 0x4843'5049;  // "IPCH"
inline constexpr uint16_t kProtocolVersion = 1;
inline constexpr size_t kMaxHandshakeBytes = 512;

// On the control socket of a running connection: a doorbell, or the memory for a coming kSwap record.
struct SwapNotice {
  char type;  // 'S'
  char reserved[3];
  uint32_t number;
  uint32_t ring_bytes;
};
static_assert(sizeof(SwapNotice) == 12);

// A datagram with at most one descriptor. More than one, or a truncated message, is an error and all are closed.
struct Datagram {
  std::string bytes;
  UniqueFd fd;
};
// OK and nullopt: nothing there now. UNAVAILABLE: the peer has closed. INVALID_ARGUMENT: a wrong message.
absl::StatusOr<std::optional<Datagram>> ReceiveDatagram(int socket);
// UNAVAILABLE: the peer is gone, or its queue is full.
absl::Status SendDatagram(int socket, const void* bytes, size_t size, int fd);

// What both sides agreed on, and the memory of both.
struct Agreement {
  uint32_t own_ring_bytes = 0;
  uint32_t peer_ring_bytes = 0;
  uint32_t max_ring_bytes = 0;
  OwnMemory own;
  Mapping peer;
};

struct RingSizes {
  uint32_t start_bytes = kMinRingBytes;
  uint32_t max_bytes = 1024 * 1024;
};

// Client: connected socket to agreement, by the deadline. PERMISSION_DENIED and others: the server's refusal, with
// its reason; FAILED_PRECONDITION: versions; DEADLINE_EXCEEDED; UNAVAILABLE: it hung up.
absl::StatusOr<Agreement> Introduce(int socket, RingSizes sizes, int64_t deadline_ns);
// Server: what the client said, answered. On error the client has been told.
absl::StatusOr<Agreement> Answer(int socket, Datagram hello, RingSizes sizes);
void Refuse(int socket, const absl::Status& why);

}  // namespace ipcrpc::shm
