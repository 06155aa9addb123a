// The bytes of a snapshot segment: nothing but constants, structures and their checks.
//
//   Header | type name, descriptors | slot 0 | slot 1 | slot 2 | slot 3
//
// One process writes, any number map it read-only; readers leave no trace, so that none can hold up the
// writer or another reader. Publication q goes to slot q % 4, so a reader has the time of three publications
// to copy one, and a writer that dies half-way spoils only a slot that nobody is sent to.
//
// Writer: q = latest + 1; sequence = 2q - 1; release fence; words; sequence = 2q (release); latest = q
// (release); wake. Reader: q = latest (acquire); sequence (acquire) must be 2q; copy words; acquire fence;
// sequence must still be 2q. If a reader copied a word of a later publication, its fence pairs with the
// writer's, and its second look sees a sequence of that later publication.
//
// Behind the bytes of a publication stands its seal, the word 2q plus the sum of its words: who cuts a file short in
// the middle of a page makes zeros of the rest of that page, which no signal tells of. Then the seal is zero; or, when
// the cut came while the writer was in that page, it contradicts the words before it.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace ipcrpc::snapshot {

inline constexpr uint64_t kMagic = 0x3130'6e73'7372'7069;  // "iprssn01", little-endian
inline constexpr uint32_t kLayoutVersion = 1;
inline constexpr uint32_t kSlots = 4;
inline constexpr uint32_t kAlign = 64;

// `latest` when the segment is over: something newer is at its name, or nothing is. The futex word changes
// with it.
inline constexpr uint64_t kMoved = std::numeric_limits<uint64_t>::max();

// The largest slot, and the largest type name and descriptors.
inline constexpr uint64_t kMaxSlotBytes = uint64_t{256} << 20;
inline constexpr uint64_t kMaxTypeNameBytes = 1024;
inline constexpr uint64_t kMaxDescriptorBytes = uint64_t{16} << 20;

struct Header {
  // Written once, before anybody else can map the segment.
  uint64_t magic;
  uint32_t version;
  uint32_t slots;
  uint64_t size;          // of the whole segment, bytes
  uint64_t slot_bytes;    // for words and seal in a slot; a multiple of kAlign
  uint64_t slots_offset;  // of slot 0; a multiple of kAlign
  uint64_t fingerprint;   // of the schema of what is in the slots
  uint32_t type_name_bytes;
  uint32_t descriptor_bytes;  // follow the type name, which follows the header
  uint32_t writer_pid;
  uint32_t reserved0;         // zero
  uint64_t writer_start;      // field 22 of /proc/PID/stat
  uint64_t writer_namespace;  // inode of its PID namespace
  std::byte reserved1[0x30];  // zero

  // What the writer changes. `latest` is the number of the newest publication; its low half is the futex
  // word.
  alignas(64) std::atomic<uint64_t> latest;
  alignas(64) std::atomic<int64_t> heartbeat_ns;  // CLOCK_MONOTONIC, when the writer last said that it lives

  alignas(64) std::byte reserved2[0x100];  // zero
};
static_assert(offsetof(Header, size) == 0x10 && offsetof(Header, fingerprint) == 0x28);
static_assert(offsetof(Header, type_name_bytes) == 0x30 && offsetof(Header, writer_pid) == 0x38);
static_assert(offsetof(Header, writer_start) == 0x40 && offsetof(Header, writer_namespace) == 0x48);
static_assert(offsetof(Header, latest) == 0x080 && offsetof(Header, heartbeat_ns) == 0x0c0);
static_assert(offsetof(Header, reserved2) == 0x100 && sizeof(Header) == 0x200);

// The head of a slot; its words follow, `length` bytes rounded up, and the seal.
struct Slot {
  std::atomic<uint64_t> sequence;  // 2q: holds publication q; 2q - 1: q is being written
  std::atomic<uint64_t> length;    // bytes
  std::byte reserved[48];          // zero

  const std::atomic<uint64_t>* words() const {
    return reinterpret_cast<const std::atomic<uint64_t>*>(this + 1);
  }
  std::atomic<uint64_t>* words() { return reinterpret_cast<std::atomic<uint64_t>*>(this + 1); }
};
static_assert(sizeof(Slot) == kAlign && sizeof(std::atomic<uint64_t>) == 8);
static_assert(std::endian::native == std::endian::little, "the futex word is the first half of `latest`");

constexpr uint64_t WordsFor(uint64_t bytes) { return (bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t); }
constexpr uint64_t SealOf(uint64_t epoch, uint64_t sum) { return 2 * epoch + sum; }

// The most that fits beside its seal.
constexpr uint64_t CapacityOf(uint64_t slot_bytes) { return slot_bytes - sizeof(uint64_t); }
constexpr uint64_t AlignUp(uint64_t bytes) { return (bytes + kAlign - 1) & ~uint64_t{kAlign - 1}; }
constexpr uint64_t SlotsOffset(uint64_t schema_bytes) { return AlignUp(sizeof(Header) + schema_bytes); }
constexpr uint64_t SlotOffset(uint64_t slots_offset, uint64_t slot_bytes, uint64_t epoch) {
  return slots_offset + (epoch % kSlots) * (sizeof(Slot) + slot_bytes);
}
constexpr uint64_t SegmentBytes(uint64_t slots_offset, uint64_t slot_bytes) {
  return slots_offset + kSlots * (sizeof(Slot) + slot_bytes);
}
// No segment is larger.
inline constexpr uint64_t kMaxSegmentBytes = SegmentBytes(SlotsOffset(kMaxTypeNameBytes + kMaxDescriptorBytes), kMaxSlotBytes);

inline const std::atomic<uint32_t>* FutexWord(const std::atomic<uint64_t>& latest) {
  return reinterpret_cast<const std::atomic<uint32_t>*>(&latest);
}

}  // namespace ipcrpc::snapshot
