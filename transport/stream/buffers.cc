#include "transport/stream/buffers.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc::stream {
namespace {

static_assert(std::endian::native == std::endian::little, "lengths are little-endian on the wire");

constexpr size_t kFirstCapacity = 4 * 1024;
// Twice what may wait, so that moving it to the front stays rare.
constexpr size_t kOutCapacityMax = 2 * (OutBuffer::kBacklogBytes + OutBuffer::kControlReserveBytes);
constexpr size_t kInCapacityMax = 256 * 1024;
// An idle link keeps no more than this.
constexpr size_t kIdleCapacityMax = 16 * 1024;

static_assert(WireBytes(kMaxFrameBytes) + kPreambleBytes <= OutBuffer::kControlReserveBytes);
static_assert(WireBytes(kMaxFrameBytes) + FrameMemory::kStart <= kInCapacityMax);

}  // namespace

void FrameMemory::Grow(size_t capacity, size_t begin, size_t end) {
  if (capacity <= capacity_) {
    std::memmove(bytes_.get() + kStart, bytes_.get() + begin, end - begin);
    return;
  }
  auto bigger = std::make_unique_for_overwrite<std::byte[]>(capacity);
  if (end > begin) std::memcpy(bigger.get() + kStart, bytes_.get() + begin, end - begin);
  bytes_ = std::move(bigger);
  capacity_ = capacity;
}

// ---- OutBuffer ---------------------------------------------------------------------------------

OutBuffer::OutBuffer() {
  memory_.Grow(kFirstCapacity, 0, 0);
  std::byte* preamble = memory_.data() + end_;
  std::memset(preamble, 0, kPreambleBytes);
  std::memcpy(preamble, kMagic.data(), kMagic.size());
  preamble[kMagic.size()] = std::byte{kVersion};
  end_ += kPreambleBytes;
}

std::byte* OutBuffer::Reserve(uint32_t size, size_t limit) {
  reserved_ = false;
  if (!Fits(size, limit)) return nullptr;
  // begin_ keeps to the border of a multiple of 8, or payloads would lose their alignment when moved.
  const size_t cut = (begin_ - FrameMemory::kStart) % kAlignment;
  const size_t begin = begin_ - cut;
  if (begin_ == end_) {
    begin_ = end_ = FrameMemory::kStart;
  }
  const size_t need = WireBytes(size);
  if (end_ + need > memory_.capacity()) {
    const size_t kept = begin_ == end_ ? begin_ : begin;
    const size_t waiting = end_ - kept;
    const size_t wanted = FrameMemory::kStart + waiting + need;
    const size_t doubled = std::min(2 * memory_.capacity(), kOutCapacityMax);
    memory_.Grow(std::max({wanted, doubled, kFirstCapacity}), kept, end_);
    begin_ = FrameMemory::kStart + (begin_ - kept);
    end_ = FrameMemory::kStart + waiting;
  }
  reserved_ = true;
  reserved_bytes_ = size;
  return memory_.data() + end_ + kLengthBytes;
}

std::span<const std::byte> OutBuffer::Lead() {
  std::byte* const lead = memory_.data() + end_;
  std::memcpy(lead, &reserved_bytes_, kLengthBytes);
  return {lead, kLengthBytes};
}

void OutBuffer::LeadSent() {
  begin_ = end_ = end_ + kLengthBytes;
  lead_sent_ = true;
}

void OutBuffer::Commit(uint32_t size) {
  IPCRPC_CHECK(reserved_ && (!lead_sent_ || size == reserved_bytes_));
  reserved_ = false;
  if (std::exchange(lead_sent_, false)) [[unlikely]] end_ -= kLengthBytes;  // begin_ stays behind the lead
  std::byte* frame = memory_.data() + end_;
  std::memcpy(frame, &size, kLengthBytes);
  const size_t bytes = WireBytes(size);
  std::memset(frame + kLengthBytes + size, 0, bytes - kLengthBytes - size);
  end_ += bytes;
  peak_ = std::max(peak_, end_);
}

void OutBuffer::Trim() {
  if (begin_ == end_ && !reserved_ && memory_.capacity() > kIdleCapacityMax && peak_ <= kIdleCapacityMax) {
    memory_.Release();
    begin_ = end_ = FrameMemory::kStart;
  }
  peak_ = 0;
}

// ---- InBuffer ----------------------------------------------------------------------------------

std::optional<uint32_t> InBuffer::NextLength() const {
  if (available() < kLengthBytes) return std::nullopt;
  uint32_t length;
  std::memcpy(&length, memory_.data() + begin_, kLengthBytes);
  return length;
}

std::span<std::byte> InBuffer::Room() {
  if (begin_ == end_) begin_ = end_ = FrameMemory::kStart;
  size_t need = kFirstCapacity / 2;
  const std::optional<uint32_t> length = preamble_taken_ ? NextLength() : std::nullopt;
  if (length && *length <= kMaxFrameBytes)
    need = std::max(need, WireBytes(*length) - std::min(WireBytes(*length), available()));
  size_t capacity = std::max(memory_.capacity(), kFirstCapacity);
  // A read that filled all there was: more is waiting, take more at a time.
  if (last_read_filled_ && capacity < kInCapacityMax) capacity = std::min(capacity * 4, kInCapacityMax);
  if (FrameMemory::kStart + available() + need > capacity)
    capacity = std::min(std::max(2 * capacity, FrameMemory::kStart + available() + need), kInCapacityMax);
  if (capacity > memory_.capacity() || end_ + need > memory_.capacity()) {
    memory_.Grow(capacity, begin_, end_);
    end_ = FrameMemory::kStart + available();
    begin_ = FrameMemory::kStart;
  }
  return {memory_.data() + end_, memory_.capacity() - end_};
}

void InBuffer::Filled(size_t bytes) {
  last_read_filled_ = end_ + bytes == memory_.capacity();
  end_ += bytes;
  peak_ = std::max(peak_, end_);
}

InBuffer::Next InBuffer::Fault(absl::Status why) {
  if (fault_.ok()) fault_ = std::move(why);
  return Next::kFault;
}

bool InBuffer::TakePreamble() {
  const std::byte* bytes = memory_.data() + begin_;
  const size_t seen = std::min<size_t>(available(), kMagic.size());
  if (std::memcmp(bytes, kMagic.data(), seen) != 0) {
    Fault(absl::InternalError(
        "the peer does not speak ipcrpc here: its first bytes are not those of the framing"));
    return false;
  }
  if (available() < kPreambleBytes) return false;
  const auto version = static_cast<uint8_t>(bytes[kMagic.size()]);
  if (version != kVersion) {
    Fault(absl::FailedPreconditionError(Cat("the peer speaks version ", int{version},
                                            " of the byte-stream framing, this is version ", int{kVersion})));
    return false;
  }
  begin_ += kPreambleBytes;
  preamble_taken_ = true;
  return true;
}

InBuffer::Next InBuffer::Peek(std::span<const std::byte>* frame) {
  if (!fault_.ok()) return Next::kFault;
  if (!preamble_taken_ && (available() == 0 || !TakePreamble()))
    return fault_.ok() ? Next::kPartial : Next::kFault;
  const std::optional<uint32_t> length = NextLength();
  if (!length) return Next::kPartial;
  if (*length == 0 || *length > kMaxFrameBytes) {
    return Fault(absl::InternalError(
        Cat("the peer sent a frame of ", *length, " bytes; 1 to ", kMaxFrameBytes, " are allowed")));
  }
  if (available() < WireBytes(*length)) return Next::kPartial;
  *frame = {memory_.data() + begin_ + kLengthBytes, *length};
  return Next::kFrame;
}

void InBuffer::Consume() { begin_ += WireBytes(*NextLength()); }

bool InBuffer::HasFrame() {
  std::span<const std::byte> ignored;
  return Peek(&ignored) != Next::kPartial;
}

std::string InBuffer::DescribePartial() const {
  if (available() == 0) return "";
  const std::optional<uint32_t> length = preamble_taken_ ? NextLength() : std::nullopt;
  if (!length) return Cat(" in the middle of a frame (after ", available(), " bytes of it)");
  return Cat(" in the middle of a frame (after ", available(), " of ", WireBytes(*length), " bytes)");
}

void InBuffer::Trim() {
  if (available() == 0 && memory_.capacity() > kIdleCapacityMax && peak_ <= kIdleCapacityMax) {
    memory_.Release();
    begin_ = end_ = FrameMemory::kStart;
    last_read_filled_ = false;
  }
  peak_ = 0;
}

}  // namespace ipcrpc::stream
