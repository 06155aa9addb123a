#include "rpc/metadata.h"

#include <algorithm>

#include "transport/base/strings.h"

namespace ipcrpc::rpc {
namespace {

bool IsKeyChar(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; }
bool IsValueChar(char c) { return c >= 0x20 && c <= 0x7e; }

Status CheckEntry(const std::string& key, const std::string& value) {
  if (key.empty() || key.size() > kMaxMetadataBytes || !std::all_of(key.begin(), key.end(), IsKeyChar)) {
    return Status(StatusCode::INTERNAL, Cat("metadata key '", key, "' may only have a-z, 0-9, '-', '_' and '.'"));
  }
  if (!key.ends_with("-bin") && !std::all_of(value.begin(), value.end(), IsValueChar)) {
    return Status(StatusCode::INTERNAL, Cat("the value of metadata key '", key, "' is not printable ASCII; a key that ends in '-bin' may carry any bytes"));
  }
  return Status();
}

}  // namespace

Status AppendMetadata(std::string& block, EntryKind kind, const SentMetadata& metadata) {
  size_t total = 0;
  for (const auto& [key, value] : metadata) {
    if (Status wrong = CheckEntry(key, value); !wrong.ok()) return wrong;
    total += key.size() + value.size() + 32;
  }
  if (total > kMaxMetadataBytes) {
    return Status(StatusCode::RESOURCE_EXHAUSTED, Cat("metadata of ", total, " bytes is over the limit of ", kMaxMetadataBytes));
  }
  for (const auto& [key, value] : metadata) AppendEntry(block, kind, key, value);
  return Status();
}

ReceivedMetadata ReadMetadata(std::string_view block, EntryKind kind) {
  ReceivedMetadata metadata;
  EntryReader reader(block);
  while (const std::optional<Entry> entry = reader.Next()) {
    if (entry->kind == kind) metadata.emplace(entry->key, entry->value);
  }
  return metadata;
}

}  // namespace ipcrpc::rpc
