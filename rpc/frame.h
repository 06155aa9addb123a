// Frames: a fixed little-endian header, a block of entries (metadata and the like), message bytes. docs/wire.md is
// the text; this is its code. Decoding looks at private memory only: a header is copied out of the link first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ipcrpc::rpc {

inline constexpr uint32_t kWireVersion = 1;

enum class FrameType : uint8_t {
  kHello = 1,      // first on a link, both ways: HelloBody as message bytes
  kBegin = 2,      // client: starts a call
  kInitial = 3,    // server: initial metadata alone
  kMessage = 4,    // a message, or a chunk of one
  kHalfClose = 5,  // client: no more messages
  kFinish = 6,     // server: status and trailing metadata; the call is over
  kCancel = 7,     // client: the call is over
  kCredit = 8,     // `number` more bytes may be sent on the stream
  kPing = 9,       // `deadline` is echoed
  kPong = 10,
  kGoaway = 11,    // no new calls on this link: asked for by the server, said by the client
  kMemory = 12,    // memory that messages of the sender will refer to, as `number`: its kMemory entry and its descriptor
  kMemoryGone = 13,     // no message will refer to that memory of the sender any more
  kMemoryRefused = 14,  // no message can refer to that memory of the receiver
  kReturn = 15,         // what the receiver has lent as `number` is not read any more
};

enum FrameFlag : uint8_t {
  kHasMessage = 1,        // message bytes follow the block (kBegin, kFinish; always on kMessage)
  kMoreChunks = 2,        // the message goes on in the next kMessage frame of the stream
  kFirstChunk = 4,        // a message begins here; `message_bytes` is its whole size
  kHalfCloses = 8,        // no more messages from this side
  kRelativeDeadline = 16, // `deadline` is nanoseconds left, else CLOCK_MONOTONIC
  kNotRun = 32,           // kFinish: no handler has seen the call, so that it may be made again elsewhere
  kRefers = 64,           // with kFirstChunk: parts of the message lie where its kReference entries say
};

// kGoaway of a server, as `number`: it still takes calls until the client has answered. Else how many kBegin it has
// taken; it has not looked at any further one, and closes.
inline constexpr uint32_t kStillTaking = 0xffff'ffff;

// 32 bytes on the wire, in this order.
struct FrameHeader {
  FrameType type = FrameType::kPing;
  uint8_t flags = 0;
  uint8_t fd_count = 0;        // descriptors that go with the message that begins here
  uint8_t reserved = 0;
  uint32_t stream = 0;         // 0: the connection
  // kBegin: method index; kFinish, kCancel: status code; kCredit: bytes; kGoaway: calls taken; kMemory and the like: which;
  // kReturn: loan
  uint32_t number = 0;
  uint32_t block_bytes = 0;
  uint64_t deadline = 0;       // kBegin: 0 none
  uint32_t fd_sequence = 0;    // with fd_count: their parcel, counted from 1 by this end; 0: they could not be sent
  uint32_t message_bytes = 0;  // with kFirstChunk
};
static_assert(sizeof(FrameHeader) == 32);

inline constexpr uint32_t kHeaderBytes = sizeof(FrameHeader);

// What both sides say first.
struct HelloBody {
  uint32_t version_min = kWireVersion;
  uint32_t version_max = kWireVersion;
  uint64_t features = 0;          // of Feature; unknown bits are ignored
  uint32_t max_streams = 0;       // calls in flight that the sender of this serves; 0: none
  uint32_t pid = 0;               // with kKeepsReferences: of its process, as it sees itself
  uint64_t time_namespace = 0;    // inode; with the boot id it tells whether CLOCK_MONOTONIC is shared
  char boot_id[40] = {};
};
static_assert(sizeof(HelloBody) == 72);

enum Feature : uint64_t {
  kTakesReferences = 1,  // messages may refer to memory
  kKeepsReferences = 2,  // whose bytes are read in place, even after the connection's end, also where they might change
};

// What a stream's window counts for a frame with `message_bytes` of message: small messages cost too.
inline constexpr int64_t kFrameCost = 32;
// And what it counts for each descriptor, or reference, that goes with the frame.
inline constexpr int64_t kEscortCost = 4096;
constexpr int64_t CostOf(size_t message_bytes, size_t escorts) {
  return static_cast<int64_t>(message_bytes) + kFrameCost + static_cast<int64_t>(escorts) * kEscortCost;
}

// The most that a block may have: beside the header it fits one frame of the smallest link.
inline constexpr size_t kMaxBlockBytes = 15 * 1024;

// A method with a longer name has no index: its name goes with each BEGIN.
inline constexpr size_t kMaxIndexedName = 255;

// What a stream may send in each direction before it is granted more.
inline constexpr int64_t kInitialCredit = 64 * 1024;

// Entries of a block.
enum class EntryKind : uint8_t {
  kInitialMetadata = 1,   // key and value
  kTrailingMetadata = 2,
  kMethodName = 3,        // kBegin: value is the name for the index in `number`, from now on
  kStatusMessage = 4,
  kStatusDetails = 5,
  kAuthority = 6,
  kReference = 7,         // ReferenceBody: the next part of the message that is not in the frame
  kMemory = 8,            // MemoryBody
};

// Memory that is shown to the peer.
struct MemoryBody {
  uint64_t bytes = 0;
  uint32_t kind = 0;  // SharedRegion::Kind
  uint32_t reserved = 0;
};
static_assert(sizeof(MemoryBody) == 16);

// Some of its bytes.
struct ReferenceBody {
  uint32_t memory = 0;
  uint32_t loan = 0;    // to be returned; 0: need not
  uint64_t offset = 0;
  uint32_t bytes = 0;
  uint32_t before = 0;  // of the message bytes in the frame, those since the reference before that come before this one
};
static_assert(sizeof(ReferenceBody) == 24);
inline constexpr size_t kMaxReferences = 16;  // of one message
// What one side shows the other at a time.
inline constexpr size_t kMaxMemories = 16;
inline constexpr uint64_t kMaxMemoryBytes = uint64_t{4} << 30;  // of all of them

struct Entry {
  EntryKind kind;
  std::string_view key;
  std::string_view value;
};

inline constexpr uint32_t kEntryHeaderBytes = 8;
inline uint32_t EntryBytes(std::string_view key, std::string_view value) {
  return kEntryHeaderBytes + static_cast<uint32_t>(key.size() + value.size());
}
void AppendEntry(std::string& block, EntryKind kind, std::string_view key, std::string_view value);

// Reads the entries of a block one by one. Kinds that it does not know are skipped.
class EntryReader {
 public:
  explicit EntryReader(std::string_view block) : rest_(block) {}
  // The next entry, borrowed from the block; nullopt at the end or where the block is broken.
  std::optional<Entry> Next();
  bool broken() const { return broken_; }

 private:
  std::string_view rest_;
  bool broken_ = false;
};

// The value of the first entry of that kind; empty when there is none.
std::string_view FindEntry(std::string_view block, EntryKind kind);

// Copies a header out of a frame and checks what can be checked without context: known type, known flags, lengths
// that fit, no reserved field used. Null when it is wrong; then *error says what.
std::optional<FrameHeader> DecodeHeader(std::span<const std::byte> frame, const char** error);

}  // namespace ipcrpc::rpc
