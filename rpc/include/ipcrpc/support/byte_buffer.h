// A message as bytes: what raw and generic methods are called with.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/slice.h"

namespace ipcrpc {

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
    auto bytes = std::make_unique<std::vector<uint8_t>>();
    bytes->reserve(Length());
    for (const Slice& piece : *slices_) bytes->insert(bytes->end(), piece.begin(), piece.end());
    std::vector<uint8_t>& joined = *bytes.release();
    *slice = Slice(joined.data(), joined.size(), [](void* vector) { delete static_cast<std::vector<uint8_t>*>(vector); }, &joined);
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
    for (const Slice& slice : static_cast<const ByteBuffer*>(message)->slices()) {
      if (slice.size() != 0) std::memcpy(out, slice.begin(), slice.size());
      out += slice.size();
    }
  }
  static bool Parse(void* message, const std::byte* data, size_t size) {
    const Slice bytes(data, size);
    *static_cast<ByteBuffer*>(message) = ByteBuffer(&bytes, 1);
    return true;
  }
};

}  // namespace internal
}  // namespace ipcrpc
