// Metadata: what users may put in, how it travels, how it is read.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "ipcrpc/status.h"
#include "rpc/frame.h"

namespace ipcrpc::rpc {

// Of all keys and values of one kind in one direction, with 32 bytes for each entry, as HTTP/2 counts.
inline constexpr size_t kMaxMetadataBytes = 8 * 1024;

using SentMetadata = std::multimap<std::string, std::string>;
using ReceivedMetadata = std::multimap<std::string_view, std::string_view>;

// Appends the metadata as entries of a kind. INTERNAL: a key or value that must not be sent (the message names it);
// RESOURCE_EXHAUSTED: too much.
Status AppendMetadata(std::string& block, EntryKind kind, const SentMetadata& metadata);

// The entries of a kind, as views into the block.
ReceivedMetadata ReadMetadata(std::string_view block, EntryKind kind);

}  // namespace ipcrpc::rpc
