// The bytes that two processes share: nothing but constants, structures and their checks.
//
// A connection has two segments, one from each side. A segment is written by its owner alone; the peer maps
// it read-only, and seals keep both from changing its size (of the kinds that can't be sealed: parts.h). It holds
// everything its owner writes: its outgoing ring, how far it has read the peer's, its sleep word and its wake word. So no
// word has two writing processes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ipcrpc::shm {

inline constexpr uint64_t kSegmentMagic = 0x3130'6d68'7372'7069;  // "iprshm01", little-endian
inline constexpr uint32_t kLayoutVersion = 1;

inline constexpr uint32_t kMinRingBytes = 64 * 1024;
inline constexpr uint32_t kMaxRingBytes = 16 * 1024 * 1024;

// The head of a segment. Each group of words sits on a cache line of its own.
struct Segment {
  // Written once, before the segment is shared.
  alignas(64) uint64_t magic;
  uint32_t version;
  uint32_t size;   // of the whole segment, bytes
  uint64_t token;  // that of the handshake: of two things of one number, which is meant

  // How many bytes of the PEER's ring the owner has consumed; release.
  alignas(64) std::atomic<uint64_t> head;

  // Whether and how the owner sleeps: see SleepWord. Only the holder of the owner's receive role writes it.
  alignas(64) std::atomic<uint32_t> sleep;
  std::atomic<uint32_t> cpu;  // where the owner polled last; a hint
  // 1: the owner has closed, and has written all that it will. Who waits for its frames need not hear of it from the socket.
  std::atomic<uint32_t> closed;

  // The futex word that the PEER sleeps on; the owner bumps it before it wakes the peer.
  alignas(64) std::atomic<uint32_t> wake_sequence;
  std::atomic<uint32_t> wake_ticks;  // low half of Ticks() at the last wake; a hint

  alignas(64) std::byte reserved[0x100];  // zero
};
static_assert(offsetof(Segment, token) == 0x010 && offsetof(Segment, head) == 0x040);
static_assert(offsetof(Segment, sleep) == 0x080 && offsetof(Segment, cpu) == 0x084 && offsetof(Segment, closed) == 0x088);
static_assert(offsetof(Segment, wake_sequence) == 0x0c0 && offsetof(Segment, wake_ticks) == 0x0c4);
static_assert(offsetof(Segment, reserved) == 0x100 && sizeof(Segment) == 0x200);

inline constexpr uint32_t kRingOffset = 0x200;

// The sleep word: epoch:28 | kind:2 | reasons:2. The epoch grows when the peer has woken since the last sleep, so
// that a waker can tell a sleep it has already ended from a new one.
struct SleepWord {
  enum Kind : uint32_t {
    kAwake = 0,
    kFutex = 1 << 2,     // on the peer's wake_sequence; or by the owner's bell, if it has one (bell.h)
    kDoorbell = 2 << 2,  // in an epoll on the control socket: send a byte
  };
  enum Reason : uint32_t { kData = 1, kSpace = 2 };
  static constexpr uint32_t kKindMask = 3 << 2;
  static constexpr uint32_t kReasonMask = 3;
  static constexpr uint32_t kEpochStep = 1 << 4;
};

// A record: aligned to 64 bytes, followed by its frame. `commit` is 0 until the record is published, then
// kCommitted | size of the whole record in bytes. `length` is the frame's length, with the kind in its top bits.
struct RecordHeader {
  std::atomic<uint32_t> commit;
  std::atomic<uint32_t> length;
};
static_assert(sizeof(RecordHeader) == 8);

inline constexpr uint32_t kRecordAlign = 64;
inline constexpr uint32_t kCommitted = 0x8000'0000;
inline constexpr uint32_t kLengthMask = 0x00ff'ffff;

// Top bits of `length`.
enum RecordKind : uint32_t {
  kFrame = 0u << 28,
  kWrap = 1u << 28,    // nothing; the next record is at the start of the ring
  kSwap = 2u << 28,    // the next record is at the start of another ring (SwapBody)
};
inline constexpr uint32_t kRecordKindMask = 0xf000'0000;

// The body of a kSwap record. The new ring's memory was sent over the control socket before, under the same number.
struct SwapBody {
  uint32_t number;
  uint32_t ring_bytes;
};

// What data frames leave free, so that control frames still pass through a full ring.
inline constexpr uint32_t kControlReserve = 4096;

constexpr uint32_t RecordBytes(uint32_t frame_bytes) {
  return (static_cast<uint32_t>(sizeof(RecordHeader)) + frame_bytes + kRecordAlign - 1) & ~(kRecordAlign - 1);
}

// A quarter of the ring for a record: what fits even after a wrap and beside the reserve.
constexpr uint32_t MaxFrameBytes(uint32_t ring_bytes) { return ring_bytes / 4 - kRecordAlign; }

constexpr bool IsRingSize(uint64_t bytes) {
  return bytes >= kMinRingBytes && bytes <= kMaxRingBytes && (bytes & (bytes - 1)) == 0;
}

}  // namespace ipcrpc::shm
