// What a link is made of where there is a choice: the kind of shared memory, how a sleeper is woken, and how the memory
// is kept. Each side chooses for what is its own: the segment that it writes and the bell that it is woken by. The
// handshake tells the other of it.
//
// Parameters of an address, the server's and the client's each for their own side:
//   segment=memfd|posix|sysv            memfd when left out
//   wake=futex|eventfd|sem|sysvsem      futex when left out
//   lock=1       the segment stays in memory (mlock, SHM_LOCK)
//   prefault=1   its pages are there before the first frame
//   hugepages=1  of huge pages (memfd and sysv)
//
// Only a sealed memfd and the futex are safe with a peer that means harm. Every other kind is writable by both sides,
// or can be cut short, so it is used between processes of one uid alone, and both sides see to that.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/peer.h"

namespace ipcrpc::shm {

class Ledger;

// The numbers are those of the handshake.
enum class SegmentKind : uint8_t { kMemfd = 0, kPosix = 1, kSysv = 2 };
enum class WakeKind : uint8_t { kFutex = 0, kEventfd = 1, kSemaphore = 2, kSysvSemaphore = 3 };
inline constexpr uint8_t kSegmentKinds = 3;
inline constexpr uint8_t kWakeKinds = 4;

std::string_view NameOf(SegmentKind kind);
std::string_view NameOf(WakeKind kind);

// One side's choice. A value; copies share the ledger.
struct Parts {
  SegmentKind segment = SegmentKind::kMemfd;
  WakeKind wake = WakeKind::kFutex;
  bool lock = false;
  bool prefault = false;
  bool hugepages = false;
  std::shared_ptr<Ledger> ledger = nullptr;  // of kinds that would outlive the process

  // What every version of the protocol has, and what any peer may have.
  bool standard() const { return segment == SegmentKind::kMemfd && wake == WakeKind::kFutex && !hugepages; }
};

// What an address asks for. INVALID_ARGUMENT: no such kind, or kinds that do not go together; what Ledger::Open() says
// of kinds that need one.
absl::StatusOr<Parts> PartsOf(const Address& address);

// Makes each of the parts once and lets it go: what the system refuses is said when a server starts, not when its
// first client comes.
absl::Status CheckAvailable(const Parts& parts);

// PERMISSION_DENIED, naming the kinds, unless the peer is one to share them with. `whose`: "our", "the client's".
absl::Status CheckTrusted(const Parts& parts, std::string_view whose, const PeerIdentity& peer);

}  // namespace ipcrpc::shm
