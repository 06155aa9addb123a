#include "rpc/frame.h"

#include <bit>
#include <cstring>

#include "ipcrpc/unique_fd.h"
#include "transport/base/copy.h"

namespace ipcrpc::rpc {

static_assert(std::endian::native == std::endian::little, "the wire format is little-endian, and so is this code");

void AppendEntry(std::string& block, EntryKind kind, std::string_view key, std::string_view value) {
  const uint16_t key_bytes = static_cast<uint16_t>(key.size());
  const uint32_t value_bytes = static_cast<uint32_t>(value.size());
  char header[kEntryHeaderBytes] = {static_cast<char>(kind), 0};
  std::memcpy(header + 2, &key_bytes, sizeof(key_bytes));
  std::memcpy(header + 4, &value_bytes, sizeof(value_bytes));
  block.append(header, sizeof(header)).append(key).append(value);
}

std::string_view FindEntry(std::string_view block, EntryKind kind) {
  EntryReader reader(block);
  while (const std::optional<Entry> entry = reader.Next()) {
    if (entry->kind == kind) return entry->value;
  }
  return {};
}

std::optional<Entry> EntryReader::Next() {
  while (!rest_.empty()) {
    uint16_t key_bytes;
    uint32_t value_bytes;
    if (rest_.size() < kEntryHeaderBytes) break;
    std::memcpy(&key_bytes, rest_.data() + 2, sizeof(key_bytes));
    std::memcpy(&value_bytes, rest_.data() + 4, sizeof(value_bytes));
    if (rest_.size() - kEntryHeaderBytes < size_t{key_bytes} + value_bytes) break;
    const Entry entry = {static_cast<EntryKind>(rest_[0]), rest_.substr(kEntryHeaderBytes, key_bytes),
                         rest_.substr(kEntryHeaderBytes + key_bytes, value_bytes)};
    rest_.remove_prefix(kEntryHeaderBytes + key_bytes + value_bytes);
    if (entry.kind >= EntryKind::kInitialMetadata && entry.kind <= EntryKind::kMemory) return entry;
  }
  broken_ = !rest_.empty();
  return std::nullopt;
}

std::optional<FrameHeader> DecodeHeader(std::span<const std::byte> frame, const char** error) {
  const auto wrong = [error](const char* what) {
    *error = what;
    return std::nullopt;
  };
  constexpr uint8_t kKnownFlags = kHasMessage | kMoreChunks | kFirstChunk | kHalfCloses | kRelativeDeadline | kNotRun | kRefers;
  FrameHeader header;
  if (frame.size() < sizeof(header)) return wrong("a frame shorter than its header");
  CopyBytes(reinterpret_cast<std::byte*>(&header), frame.data(), sizeof(header));
  if (header.type < FrameType::kHello || header.type > FrameType::kReturn) return wrong("a frame of unknown type");
  if ((header.flags & ~kKnownFlags) != 0) return wrong("a frame with unknown flags");
  if ((header.flags & kNotRun) != 0 && header.type != FrameType::kFinish) return wrong("a call that did not run, and is not over");
  const bool first = (header.flags & kFirstChunk) != 0;
  const bool refers = (header.flags & kRefers) != 0;
  const bool carries = header.type == FrameType::kBegin || header.type == FrameType::kMessage || header.type == FrameType::kFinish;
  if (refers && (!carries || !first)) return wrong("references where no message begins");
  if (header.fd_count == 0 && header.fd_sequence != 0) return wrong("a parcel of no descriptors");
  if (header.fd_count != 0) {
    const bool memory = header.type == FrameType::kMemory && header.fd_count == 1;
    if (!memory && (!carries || !first)) return wrong("descriptors where no message begins");
    if (header.fd_count > kMaxFdsPerMessage) return wrong("more descriptors than go with a message");
  }
  if (header.block_bytes > frame.size() - sizeof(header)) return wrong("a block longer than its frame");
  const size_t rest = frame.size() - sizeof(header) - header.block_bytes;
  if (rest != 0 && (header.flags & kHasMessage) == 0 && header.type != FrameType::kHello) {
    return wrong("message bytes in a frame without a message");
  }
  if ((header.flags & (kMoreChunks | kFirstChunk)) != 0 && (header.flags & kHasMessage) == 0) {
    return wrong("chunk flags on a frame without a message");
  }
  if (first) {
    const bool more = (header.flags & kMoreChunks) != 0;
    // With references it is the message's size less theirs that counts: see Borrowing::Resolve().
    if (more || refers ? rest >= header.message_bytes : rest != header.message_bytes) return wrong("a chunk that contradicts its message's size");
  }
  return header;
}

}  // namespace ipcrpc::rpc
