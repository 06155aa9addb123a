#include "transport/shm/ring.h"

#include "transport/base/status_macros.h"

namespace ipcrpc::shm {
namespace {

// Below this offset the pages of a ring are warm anyway; beyond it an empty ring starts over, so that traffic of
// calls and answers touches few pages.
constexpr uint32_t kEarlyWrapOffset = 16 * 1024;

// tests/mutant/ takes the release away, and expects ThreadSanitizer to tell.
#if defined(IPCRPC_MUTANT_RELAXED_COMMIT)
constexpr std::memory_order kPublish = std::memory_order_relaxed;
#else
constexpr std::memory_order kPublish = std::memory_order_release;
#endif

RecordHeader* HeaderAt(std::byte* ring, uint32_t offset) { return reinterpret_cast<RecordHeader*>(ring + offset); }

}  // namespace

void RingWriter::RefreshHead() {
  // Pairs with the release of the peer's head: what it has read is free to be written.
  const uint64_t head = peer_head_->load(std::memory_order_acquire);
  if (head < cached_head_ || head > tail_) {
    fault_ = true;
    return;
  }
  cached_head_ = head;
}

bool RingWriter::Fits(uint64_t need) {
  const auto used = [this] { return tail_ - (cached_head_ > base_ ? cached_head_ : base_); };
  if (used() + need <= size_) return true;
  RefreshHead();
  return !fault_ && used() + need <= size_;
}

std::byte* RingWriter::Reserve(uint32_t frame_bytes, uint32_t leave_free) {
  IPCRPC_CHECK(frame_bytes <= MaxFrameBytes(size_));
  const uint32_t record = RecordBytes(frame_bytes);
  const uint32_t offset = static_cast<uint32_t>(tail_ - base_) & (size_ - 1);
  const uint32_t to_end = size_ - offset;
  // One more record header than needed stays free: the zero word that ends what is published.
  const uint32_t need = record + kRecordAlign + leave_free;
  pad_ = record > to_end ? to_end : 0;
  if (offset >= kEarlyWrapOffset && need <= offset) {
    if (cached_head_ != tail_) RefreshHead();
    if (cached_head_ == tail_) pad_ = to_end;
  }
  if (fault_ || !Fits(uint64_t{pad_} + need)) return nullptr;
  return ring_ + (pad_ != 0 ? 0 : offset) + sizeof(RecordHeader);
}

void RingWriter::Commit(uint32_t frame_bytes, RecordKind kind) {
  const uint32_t record = RecordBytes(frame_bytes);
  const uint32_t at = static_cast<uint32_t>(tail_ - base_) & (size_ - 1);
  const uint32_t offset = pad_ != 0 ? 0 : at;
  // I2: before this record can be seen, the word after it says "nothing".
  HeaderAt(ring_, (offset + record) & (size_ - 1))->commit.store(0, std::memory_order_relaxed);
  RecordHeader* header = HeaderAt(ring_, offset);
  header->length.store(frame_bytes | kind, std::memory_order_relaxed);
  // Pairs with the acquire in RingReader::Peek(): who sees the commit sees the frame.
  header->commit.store(kCommitted | record, kPublish);
  if (pad_ != 0) {
    // The record at the start is complete before the wrap that leads to it.
    RecordHeader* wrap = HeaderAt(ring_, at);
    wrap->length.store(kWrap, std::memory_order_relaxed);
    wrap->commit.store(kCommitted | pad_, kPublish);
  }
  tail_ += pad_ + record;
  pad_ = 0;
}

void RingWriter::MoveTo(std::byte* ring, uint32_t ring_bytes) {
  ring_ = ring;
  size_ = ring_bytes;
  base_ = tail_;
  pad_ = 0;
}

bool RingWriter::ReaderHasMoved() {
  if (cached_head_ < base_) RefreshHead();
  return cached_head_ >= base_;
}

RingReader::Next RingReader::Peek(const std::byte** frame, uint32_t* frame_bytes) {
  for (;;) {
    const uint32_t offset = Offset();
    const RecordHeader* header = Word(offset);
    // Pairs with the release in RingWriter::Commit().
    const uint32_t commit = header->commit.load(std::memory_order_acquire);
    if (commit == 0) return Next::kEmpty;
    const uint32_t record = commit & ~kCommitted;
    if ((commit & kCommitted) == 0 || record == 0 || record % kRecordAlign != 0 || record > size_ - offset) {
      return Next::kFault;
    }
    const uint32_t length = header->length.load(std::memory_order_relaxed);
    const uint32_t bytes = length & kLengthMask;
    switch (length & kRecordKindMask) {
      case kWrap:
        // Only to the very end, and never twice in a row: a wrap must lead to something.
        if (record != size_ - offset || offset == 0 || after_wrap_) return Next::kFault;
        head_ += record;
        after_wrap_ = true;
        continue;
      case kFrame:
      case kSwap:
        if (bytes == 0 || bytes > record - sizeof(RecordHeader)) return Next::kFault;
        record_bytes_ = record;
        *frame = ring_ + offset + sizeof(RecordHeader);
        *frame_bytes = bytes;
        return (length & kRecordKindMask) == kSwap ? Next::kSwap : Next::kFrame;
      default:
        return Next::kFault;
    }
  }
}

}  // namespace ipcrpc::shm
