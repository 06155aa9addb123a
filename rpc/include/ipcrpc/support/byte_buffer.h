// A message as bytes: what raw and generic methods are called with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/slice.h"

namespace ipcrpc {

namespace internal {

// A slice of `size` bytes and where to write them, once, before anybody else has it.
inline std::pair<Slice, uint8_t*> NewSlice(size_t size) {
  auto* const bytes = new uint8_t[size];
  return {Slice(bytes, size, [](void* of) { delete[] static_cast<uint8_t*>(of); }), bytes};
}

inline Slice CopyOf(const void* data, size_t size) {
  auto [slice, bytes] = NewSlice(size);
  Copy(bytes, data, size);
  return std::move(slice);
}

inline Slice Joined(std::span<const Slice> pieces) {
  size_t size = 0;
  for (const Slice& piece : pieces) size += piece.size();
  auto [joined, to] = NewSlice(size);
  for (const Slice& piece : pieces) {
    Copy(to, piece.begin(), piece.size());
    to += piece.size();
  }
  return std::move(joined);
}

}  // namespace internal

// A value: copies share their slices. Default-constructed and cleared ones are invalid, which is not the same as empty.
class ByteBuffer final {
 public:
  ByteBuffer() = default;
  ByteBuffer(const Slice* slices, size_t count) : slices_(std::make_shared<const std::vector<Slice>>(slices, slices + count)) {}

  bool Valid() const { return slices_ != nullptr; }
  size_t Length() const {
    size_t bytes = 0;
    for (const Slice& slice : slices()) bytes += slice.size();
    return bytes;
  }

  // The bytes without a copy. FAILED_PRECONDITION: invalid.
  Status Dump(std::vector<Slice>* slices) const {
    slices->clear();
    if (!Valid()) return Invalid();
    *slices = *slices_;
    return Status();
  }
  // The bytes in one piece, copied if they are in several. FAILED_PRECONDITION: invalid.
  Status DumpToSingleSlice(Slice* slice) const {
    if (TrySingleSlice(slice).ok()) return Status();
    if (!Valid()) return Invalid();
    *slice = internal::Joined(*slices_);
    return Status();
  }
  // The bytes without a copy, if they are in one piece. FAILED_PRECONDITION: they are not, or invalid.
  Status TrySingleSlice(Slice* slice) const {
    if (!Valid()) return Invalid();
    if (slices_->size() != 1) return Status(StatusCode::FAILED_PRECONDITION, "the buffer is not a single slice");
    *slice = slices_->front();
    return Status();
  }

  void Clear() { slices_ = nullptr; }
  void Swap(ByteBuffer* other) { slices_.swap(other->slices_); }
  // For compatibility: copies share anyway, and own what they share.
  void Duplicate() {}
  void Release() { Clear(); }

 private:
  friend struct internal::MessageCodec<ByteBuffer>;

  static Status Invalid() { return Status(StatusCode::FAILED_PRECONDITION, "the buffer is not valid"); }
  const std::vector<Slice>& slices() const {
    static const std::vector<Slice> none;
    return Valid() ? *slices_ : none;
  }

  std::shared_ptr<const std::vector<Slice>> slices_;
};

namespace internal {

template <>
struct MessageCodec<ByteBuffer> {
  static size_t Size(const void* message) { return static_cast<const ByteBuffer*>(message)->Length(); }
  static void Write(const void* message, std::byte* out, size_t /*size*/) {
    for (const Slice& slice : Slices(message)) {
      Copy(out, slice.begin(), slice.size());
      out += slice.size();
    }
  }
  static void WritePieces(const void* message, MessageSink& sink, size_t /*size*/) {
    std::span<std::byte> room;
    for (const Slice& slice : Slices(message)) {
      for (size_t done = 0; done != slice.size();) {
        if (room.empty()) room = sink.Next();
        const size_t piece = std::min(room.size(), slice.size() - done);
        Copy(room.data(), slice.begin() + done, piece);
        room = room.subspan(piece);
        done += piece;
      }
    }
  }
  static std::span<const Slice> Slices(const void* message) { return static_cast<const ByteBuffer*>(message)->slices(); }
  static bool Parse(void* message, const std::byte* data, size_t size) {
    const Slice bytes = CopyOf(data, size);
    return Adopt(message, {&bytes, 1});
  }
  static bool Adopt(void* message, std::span<const Slice> slices) {
    *static_cast<ByteBuffer*>(message) = ByteBuffer(slices.data(), slices.size());
    return true;
  }
};

}  // namespace internal
}  // namespace ipcrpc
