// What client and server tell each other before there is a link, where the mechanism says nothing about who is there
// (FIFOs, message queues). docs/wire.md, "Rendezvous without credentials".
//
//   1. The client asks, on the server's well-known place, with a token of its own making: never with a path.
//   2. The server makes the pair of queues and, beside the well-known name, the file NAME~TOKEN (the welcome), all of
//      them for the uid that asked alone. The file says when the pair is there, or why there is none, and has a nonce.
//   3. The client opens both, and returns the nonce over the pair: so it is who may read that file.
//
// A byte of the file is locked by each side while it holds the pair (life.h).
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ipcrpc::rendezvous {

inline constexpr uint16_t kVersion = 1;

using Token = std::array<uint8_t, 16>;
// From the kernel's generator.
Token RandomToken();
std::string Hex(const Token& token);

// Which mechanism a pair is of; part of the bytes.
enum class Kind : uint32_t { kFifo = 1, kMqueue = 2, kSysvmq = 3, kNetlink = 4 };

struct Ask {
  static constexpr uint32_t kMagic = 0x4143'5049;  // "IPCA"

  uint32_t magic = kMagic;
  uint16_t version_min = kVersion, version_max = kVersion;
  Token token = {};
  uint32_t uid = 0, gid = 0;  // as whom the client wants to be known: it has to prove it
  int32_t pid = 0;
  uint32_t zero = 0;
  uint64_t pid_namespace = 0;  // inode; a pid means something in its own namespace only
  uint32_t reserved[3] = {};
  uint32_t check = 0;  // of the bytes before
};
static_assert(sizeof(Ask) == 64);

// Asks come as a stream (a FIFO) or as messages, from anybody who may write there. An ask is written at once and stays in
// one piece, whatever others write; so what is not one is skipped byte by byte.
class AskReader {
 public:
  std::span<std::byte> Room() { return {buffer_.data() + size_, buffer_.size() - size_}; }
  void Filled(size_t bytes) { size_ += bytes; }
  std::optional<Ask> Next();

 private:
  std::array<std::byte, 8192 + sizeof(Ask)> buffer_;
  size_t size_ = 0;
};

uint32_t CheckOf(const Ask& ask);

// The file NAME~TOKEN. When it is refused, the reason follows as text.
struct Welcome {
  static constexpr uint32_t kMagic = 0x5743'5049;  // "IPCW"
  enum State : uint32_t { kMaking = 0, kReady = 1, kRefused = 2 };

  uint32_t magic = kMagic;
  uint16_t version = kVersion;
  uint16_t code = 0;  // of the refusal: absl::StatusCode
  uint32_t kind = 0;
  uint32_t state = kMaking;  // written last
  Token nonce = {};
  int32_t pid = 0;  // of the server
  uint32_t numbers[3] = {};  // what the mechanism has to say: a message size, a port
  uint64_t pid_namespace = 0;
  uint64_t reserved = 0;
};
static_assert(sizeof(Welcome) == 64);
inline constexpr size_t kMaxRefusalBytes = 1024;

// The first bytes, or the first message, on the pair from the client.
struct Proof {
  static constexpr uint32_t kMagic = 0x5043'5049;  // "IPCP"

  uint32_t magic = kMagic;
  int32_t fd = -1;  // under which number the client holds its writing end: /proc shows that it does
  Token nonce = {};
  uint64_t number = 0;  // what the mechanism has to say: a port
};
static_assert(sizeof(Proof) == 32);

}  // namespace ipcrpc::rendezvous
