// The two ends of a ring of records in memory that one process writes and the other only reads.
//
// Writer's invariants (positions are byte counts that never wrap; ring offset = position mod size):
//   I1  head <= tail <= head + size
//   I2  the commit word at tail is 0 whenever the reader can reach it, so that bytes of an earlier lap are
//       never taken for a record
//   I3  a byte is written only while outside [head, tail)
//   I4  a record is at most a quarter of the ring
// Reader's: every word is read once, into private memory, checked, then used.
//
// In-record commit follows Aeron's ring buffer, cached positions and single writers the Disruptor and
// rigtorp's SPSCQueue. Neither end locks; each belongs to one role, held by one thread at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "transport/shm/layout.h"

namespace ipcrpc::shm {

class RingWriter {
 public:
  RingWriter() = default;
  // `peer_head` is the word in the peer's segment that says how far it has read.
  RingWriter(std::byte* ring, uint32_t ring_bytes, const std::atomic<uint64_t>* peer_head)
      : ring_(ring), size_(ring_bytes), peer_head_(peer_head) {}

  uint32_t size() const { return size_; }

  // Room for a frame of `frame_bytes` (at most MaxFrameBytes(size())), or null. `leave_free` bytes of the ring stay unused.
  std::byte* Reserve(uint32_t frame_bytes, uint32_t leave_free);
  // Publishes the reserved frame, `frame_bytes` of it.
  void Commit(uint32_t frame_bytes, RecordKind kind = kFrame);

  // Goes on in another ring, empty and zeroed, after the kSwap record that was just committed.
  void MoveTo(std::byte* ring, uint32_t ring_bytes);
  // True once the reader has left the ring that MoveTo() replaced.
  bool ReaderHasMoved();

  // Where the next record goes, pad and all.
  uint64_t tail() const { return tail_; }

  // The peer's head was impossible: it lies, or its memory is broken.
  bool fault() const { return fault_; }

 private:
  uint64_t FreeBytes();  // refreshes the cached head when it says full
  bool Fits(uint64_t need);
  void RefreshHead();

  std::byte* ring_ = nullptr;
  uint32_t size_ = 0;
  const std::atomic<uint64_t>* peer_head_ = nullptr;
  uint64_t base_ = 0;         // position at which this ring began
  uint64_t tail_ = 0;         // position of the next record
  uint64_t cached_head_ = 0;  // the peer's head as last seen
  uint32_t pad_ = 0;          // of the reservation: bytes skipped to the end of the ring
  bool fault_ = false;
};

class RingReader {
 public:
  enum class Next { kEmpty, kFrame, kSwap, kFault };

  RingReader() = default;
  RingReader(const std::byte* ring, uint32_t ring_bytes) : ring_(ring), size_(ring_bytes) {}

  // Something may be there; one load. For spinning.
  bool MayHaveNext() const { return Word(Offset())->commit.load(std::memory_order_relaxed) != 0; }

  // The next record, its frame borrowed until Consume(). Follows wraps.
  Next Peek(const std::byte** frame, uint32_t* frame_bytes);
  // Leaves the record that Peek() gave.
  void Consume() {
    head_ += record_bytes_;
    after_wrap_ = false;
  }
  // Goes on in another ring after a kSwap record was consumed.
  void MoveTo(const std::byte* ring, uint32_t ring_bytes) {
    ring_ = ring;
    size_ = ring_bytes;
    base_ = head_;
    after_wrap_ = false;
  }

  uint64_t head() const { return head_; }
  uint32_t size() const { return size_; }

 private:
  uint32_t Offset() const { return static_cast<uint32_t>(head_ - base_) & (size_ - 1); }
  const RecordHeader* Word(uint32_t offset) const { return reinterpret_cast<const RecordHeader*>(ring_ + offset); }

  const std::byte* ring_ = nullptr;
  uint32_t size_ = 0;
  uint64_t base_ = 0;
  uint64_t head_ = 0;
  uint32_t record_bytes_ = 0;
  bool after_wrap_ = false;
};

}  // namespace ipcrpc::shm
