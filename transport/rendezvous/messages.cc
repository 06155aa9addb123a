#include "transport/rendezvous/messages.h"

#include <sys/random.h>

#include <cstring>

#include "transport/base/status_macros.h"

namespace ipcrpc::rendezvous {

Token RandomToken() {
  Token token;
  IPCRPC_CHECK(getrandom(token.data(), token.size(), 0) == static_cast<ssize_t>(token.size()));
  return token;
}

std::string Hex(const Token& token) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : token) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// FNV-1a: against accidents and half asks, not against malice.
uint32_t CheckOf(const Ask& ask) {
  unsigned char bytes[offsetof(Ask, check)];
  std::memcpy(bytes, &ask, sizeof bytes);
  uint32_t hash = 2166136261u;
  for (const unsigned char byte : bytes) hash = (hash ^ byte) * 16777619u;
  return hash;
}

std::optional<Ask> AskReader::Next() {
  std::optional<Ask> found;
  size_t at = 0;
  for (; !found && at + sizeof(Ask) <= size_; ++at) {
    Ask ask;
    std::memcpy(&ask, buffer_.data() + at, sizeof ask);
    if (ask.magic != Ask::kMagic || ask.check != CheckOf(ask)) continue;
    found = ask;
    at += sizeof(Ask) - 1;
  }
  std::memmove(buffer_.data(), buffer_.data() + at, size_ - at);
  size_ -= at;
  return found;
}

}  // namespace ipcrpc::rendezvous
