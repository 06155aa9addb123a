#include "rpc/memory/received_message.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "transport/base/copy.h"

namespace ipcrpc::rpc {
namespace {

// Below this a copy is as good as the memory that was made for it.
constexpr size_t kWorthItsMemory = 4096;

std::span<const std::byte> BytesOf(const Slice& slice) { return {reinterpret_cast<const std::byte*>(slice.begin()), slice.size()}; }

// In private memory.
Slice CopyOf(std::span<const std::byte> bytes) {
  Slice copy(bytes.size());
  CopyBytes(reinterpret_cast<std::byte*>(const_cast<uint8_t*>(copy.begin())), bytes.data(), bytes.size());
  return copy;
}


}  // namespace

size_t ReceivedMessage::size() const {
  size_t size = bytes_.size();
  if (parts_ == nullptr) return size;
  for (const BorrowedPart& part : *parts_) size += part.slice.size();
  return size;
}

// The buffer's memory becomes the slice's.
Slice ReceivedMessage::TakeBuffer() {
  const std::shared_ptr<std::byte[]> memory = all_of_->Release();
  return internal::SharedSlices::Make(std::shared_ptr<const uint8_t>(memory, reinterpret_cast<const uint8_t*>(bytes_.data())), bytes_.size(), nullptr);
}

bool ReceivedMessage::ParseSlices(const internal::IncomingMessage& message) {
  if (message.adopt == nullptr) {
    Buffer memory;
    const std::span<const std::byte> bytes = JoinParts(memory);
    const bool parses = message.parse(message.message, bytes.data(), bytes.size());
    parts_ = nullptr;  // what was parsed where it lies
    return parses;
  }
  if (parts_ == nullptr && (all_of_ == nullptr || bytes_.size() < std::max(kWorthItsMemory, all_of_->capacity() / 2))) {
    return message.parse(message.message, bytes_.data(), bytes_.size());
  }
  if (parts_ == nullptr) {
    const Slice slice = TakeBuffer();
    return message.adopt(message.message, {&slice, 1});
  }
  std::vector<Slice> slices;
  std::span<const std::byte> own = bytes_;
  for (const BorrowedPart& part : *parts_) {
    if (part.before != 0) slices.push_back(CopyOf(own.first(part.before)));
    own = own.subspan(part.before);
    slices.push_back(part.may_change ? CopyOf(BytesOf(part.slice)) : part.slice);
  }
  if (!own.empty()) slices.push_back(CopyOf(own));
  parts_ = nullptr;  // what was copied goes back
  return message.adopt(message.message, slices);
}

std::span<const std::byte> ReceivedMessage::JoinParts(Buffer& memory) {
  if (parts_->size() == 1 && bytes_.empty() && !parts_->front().may_change) {
    return BytesOf(parts_->front().slice);
  }
  std::byte* out = memory.Extend(size());
  std::span<const std::byte> own = bytes_;
  for (const BorrowedPart& part : *parts_) {
    CopyBytes(out, own.data(), part.before);
    out += part.before;
    own = own.subspan(part.before);
    CopyBytes(out, BytesOf(part.slice).data(), part.slice.size());
    out += part.slice.size();
  }
  CopyBytes(out, own.data(), own.size());
  parts_ = nullptr;
  return memory.bytes();
}

}  // namespace ipcrpc::rpc
