// The frame decoder: any bytes are a header with lengths that fit, or refused with a reason; a block's entries lie
// inside it, and entries written anew read as they were.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/frame.h"
#include "rpc/metadata.h"

namespace {

using namespace ipcrpc::rpc;  // NOLINT: all of it is from there

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void CheckBlock(std::string_view block) {
  std::string again;
  std::vector<Entry> entries;
  EntryReader reader(block);
  while (const std::optional<Entry> entry = reader.Next()) {
    for (const std::string_view part : {entry->key, entry->value}) {
      Require(part.empty() || (part.data() >= block.data() && part.data() + part.size() <= block.data() + block.size()),
              "an entry outside its block");
    }
    entries.push_back(*entry);
    AppendEntry(again, entry->kind, entry->key, entry->value);
  }
  Require(again.size() <= block.size(), "more entries than bytes");
  EntryReader second(again);
  for (const Entry& expected : entries) {
    const std::optional<Entry> entry = second.Next();
    Require(entry.has_value() && entry->kind == expected.kind && entry->key == expected.key && entry->value == expected.value,
            "an entry that reads otherwise when it is written anew");
  }
  Require(!second.Next().has_value() && !second.broken(), "entries written anew are broken");
  ReadMetadata(block, EntryKind::kInitialMetadata);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> frame(reinterpret_cast<const std::byte*>(data), size);
  const char* error = nullptr;
  const std::optional<FrameHeader> header = DecodeHeader(frame, &error);
  Require(header.has_value() != (error != nullptr), "refused without a reason, or taken with one");
  if (header.has_value()) {
    Require(header->block_bytes <= size - kHeaderBytes, "a block beyond the frame");
    CheckBlock({reinterpret_cast<const char*>(data) + kHeaderBytes, header->block_bytes});
    const size_t message = size - kHeaderBytes - header->block_bytes;
    Require((header->flags & kFirstChunk) == 0 || message <= header->message_bytes, "a chunk longer than its message");
  }
  CheckBlock({reinterpret_cast<const char*>(data), size});
  return 0;
}
