// The private buffers of a byte-stream link, and the framing in them. Neither locks; neither makes system
// calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "transport/stream/framing.h"

namespace ipcrpc::stream {

// Memory whose payloads are 8-byte aligned when frames follow each other from kStart on.
class FrameMemory {
 public:
  static constexpr size_t kStart = kAlignment - kLengthBytes;

  std::byte* data() const { return bytes_.get(); }
  size_t capacity() const { return capacity_; }
  // At least `capacity` bytes, the range [begin, end) moved to kStart.
  void Grow(size_t capacity, size_t begin, size_t end);
  void Release() { bytes_.reset(), capacity_ = 0; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  size_t capacity_ = 0;
};

// Frames on their way out. What Reserve() returned stays where it is until the next Reserve(), whatever
// Sent() or Discard() do meanwhile.
class OutBuffer {
 public:
  // What may wait here: frames of data up to the first, control frames also the second.
  static constexpr size_t kBacklogBytes = 256 * 1024;
  static constexpr size_t kControlReserveBytes = 96 * 1024;

  OutBuffer();

  // Room for a payload, or null when more than `limit` bytes would wait then.
  std::byte* Reserve(uint32_t size, size_t limit);
  void Commit(uint32_t size);
  // The first bytes on the wire of the reserved frame, which may be sent before the rest is known, if nothing else waits;
  // then LeadSent(), and Commit() of the whole reservation.
  std::span<const std::byte> Lead();
  void LeadSent();

  bool Fits(uint32_t size, size_t limit) const { return pending().size() + WireBytes(size) <= limit; }
  std::span<const std::byte> pending() const { return {memory_.data() + begin_, end_ - begin_}; }
  void Sent(size_t bytes) { begin_ += bytes; }
  void Discard() { begin_ = end_; }
  // Gives memory back that was not needed since the last call.
  void Trim();

 private:
  FrameMemory memory_;
  size_t begin_ = FrameMemory::kStart;  // to be sent: [begin_, end_)
  size_t end_ = FrameMemory::kStart;
  bool reserved_ = false;
  bool lead_sent_ = false;  // of the reserved frame, which then begins before end_
  uint32_t reserved_bytes_ = 0;
  size_t peak_ = 0;
};

// Bytes that came in, as frames.
class InBuffer {
 public:
  enum class Next { kFrame, kPartial, kFault };

  // Where to read to: never empty, and enough for the rest of the next frame.
  std::span<std::byte> Room();
  // `bytes` of Room() were filled.
  void Filled(size_t bytes);

  // The next whole frame, which stays until Consume(). kFault: fault() says what.
  Next Peek(std::span<const std::byte>* frame);
  void Consume();
  bool HasFrame();

  // How far the stream got into the next frame: "" at the border of a frame.
  std::string DescribePartial() const;
  const absl::Status& fault() const { return fault_; }
  void Trim();

 private:
  size_t available() const { return end_ - begin_; }
  bool TakePreamble();
  Next Fault(absl::Status why);
  std::optional<uint32_t> NextLength() const;

  FrameMemory memory_;
  size_t begin_ = FrameMemory::kStart;
  size_t end_ = FrameMemory::kStart;
  size_t peak_ = 0;
  bool last_read_filled_ = false;
  bool preamble_taken_ = false;
  absl::Status fault_;
};

}  // namespace ipcrpc::stream
