#include "ipcrpc/bytes_payload.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ipcrpc {
namespace {

// Of protobuf's encoding: a field begins with its number, shifted by the 3 bits of these, as a varint.
enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kStartGroup = 3, kEndGroup = 4, kFixed32 = 5 };
constexpr int kTypeBits = 3;
constexpr uint32_t kDataField = 1;
constexpr uint32_t kDataTag = kDataField << kTypeBits | static_cast<uint32_t>(WireType::kLengthDelimited);
static_assert(kDataTag < 0x80, "the tag is one byte");
constexpr int kMostTagBytes = 5, kMostSizeBytes = 5, kMostVarintBytes = 10;
constexpr size_t kMostGroups = 100;  // one in the other
constexpr uint64_t kMostBytes = std::numeric_limits<int32_t>::max();

// The bytes of a message, each looked at once: their owner may change them meanwhile.
class Reader {
 public:
  Reader() = default;  // of no bytes
  explicit Reader(std::span<const Slice> slices) : slices_(slices) {
    for (const Slice& slice : slices) left_ += slice.size();
  }

  uint64_t left() const { return left_; }

  // Nullopt: the message ends before, or it is longer than `most_bytes`. Bits beyond the 64th are lost, as in protobuf.
  std::optional<uint64_t> Varint(int most_bytes) {
    uint64_t value = 0;
    for (int i = 0; i < most_bytes && left_ != 0; ++i) {
      while (at_ == slices_.front().size()) NextSlice();
      const uint8_t byte = slices_.front().begin()[at_];
      ++at_;
      --left_;
      value |= uint64_t{byte & 0x7fu} << (7 * i);
      if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
  }

  // False: there are less.
  bool Skip(uint64_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    while (bytes != 0) {
      const size_t here = std::min<uint64_t>(bytes, slices_.front().size() - at_);
      at_ += here;
      bytes -= here;
      if (bytes != 0) NextSlice();
    }
    return true;
  }

  // The next bytes, which there are, of their slice if they all lie in one.
  Slice Take(size_t bytes) const {
    Reader reader = *this;
    while (bytes != 0 && reader.at_ == reader.slices_.front().size()) reader.NextSlice();
    std::vector<Slice> parts;
    while (bytes != 0) {
      const Slice& slice = reader.slices_.front();
      const size_t here = std::min(bytes, slice.size() - reader.at_);
      if (here == bytes && parts.empty()) return slice.sub(reader.at_, reader.at_ + here);
      parts.push_back(slice.sub(reader.at_, reader.at_ + here));
      bytes -= here;
      if (bytes != 0) reader.NextSlice();
    }
    return parts.empty() ? Slice() : internal::Joined(parts);
  }

 private:
  void NextSlice() {
    slices_ = slices_.subspan(1);
    at_ = 0;
  }

  std::span<const Slice> slices_;
  size_t at_ = 0;  // in the first of them
  uint64_t left_ = 0;
};

// Goes over a message for its last field 1.
class FieldFinder {
 public:
  explicit FieldFinder(std::span<const Slice> slices) : reader_(slices) {}

  bool Run() {
    while (reader_.left() != 0) {
      if (!Field()) return false;
    }
    return depth_ == 0;  // no group is open
  }
  Slice data() const { return at_.Take(size_); }

 private:
  bool Field() {
    const std::optional<uint64_t> wide_tag = reader_.Varint(kMostTagBytes);
    if (!wide_tag.has_value()) return false;
    const auto tag = static_cast<uint32_t>(*wide_tag);
    const uint32_t number = tag >> kTypeBits;
    if (number == 0) return false;
    switch (static_cast<WireType>(tag & ((1 << kTypeBits) - 1))) {
      case WireType::kVarint:
        return reader_.Varint(kMostVarintBytes).has_value();
      case WireType::kFixed64:
        return reader_.Skip(8);
      case WireType::kFixed32:
        return reader_.Skip(4);
      case WireType::kLengthDelimited:
        return Bytes(tag);
      case WireType::kStartGroup:
        if (depth_ == groups_.size()) return false;
        groups_[depth_++] = number;
        return true;
      case WireType::kEndGroup:
        return depth_ != 0 && groups_[--depth_] == number;
    }
    return false;
  }

  bool Bytes(uint32_t tag) {
    const std::optional<uint64_t> size = reader_.Varint(kMostSizeBytes);
    if (!size.has_value() || *size > kMostBytes) return false;
    if (tag == kDataTag && depth_ == 0) {
      at_ = reader_;
      size_ = *size;
    }
    return reader_.Skip(*size);
  }

  Reader reader_;
  Reader at_;  // before the bytes of the last field 1
  size_t size_ = 0;
  std::array<uint32_t, kMostGroups> groups_;  // the fields that are open
  size_t depth_ = 0;
};

Status Invalid(std::string_view why) {
  return Status(StatusCode::INVALID_ARGUMENT, "not a message of one `bytes` field: " + std::string(why));
}

}  // namespace

Status BytesPayload::Parse(const ByteBuffer& message, BytesPayload* payload) {
  std::vector<Slice> slices;
  if (!message.Dump(&slices).ok()) return Invalid("there is no message");
  if (message.Length() > kMostBytes) return Invalid("it has more than 2 GiB");
  FieldFinder finder(slices);
  if (!finder.Run()) return Invalid("it is malformed");
  payload->data = finder.data();
  return Status();
}

ByteBuffer BytesPayload::ToByteBuffer() const {
  if (data.size() == 0) return ByteBuffer(nullptr, 0);
  std::array<uint8_t, 1 + kMostVarintBytes> front;
  front[0] = kDataTag;
  const uint8_t* const end = google::protobuf::io::CodedOutputStream::WriteVarint64ToArray(data.size(), &front[1]);
  const Slice slices[] = {Slice(front.data(), static_cast<size_t>(end - front.data())), data};
  return ByteBuffer(slices, 2);
}

}  // namespace ipcrpc
