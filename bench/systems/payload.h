// Payloads that both sides really write and read, word by word: what messages without a copy are measured with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "bench/process.h"

namespace ipcrpc::bench {

// Of a payload that is handed over untouched only so much is written and read.
inline constexpr size_t kTouched = 64;

// Eight bytes at a time, each word another one; `bytes` is a multiple of 8 and aligned to them.
inline void WriteWords(std::span<std::byte> bytes, uint64_t id) {
  auto* const words = reinterpret_cast<uint64_t*>(bytes.data());
  for (size_t i = 0; i < bytes.size() / sizeof(uint64_t); ++i) words[i] = id + i;
}

inline void CheckWords(std::span<const std::byte> bytes, uint64_t id) {
  const auto* const words = reinterpret_cast<const uint64_t*>(bytes.data());
  const uint64_t count = bytes.size() / sizeof(uint64_t);
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += words[i];
  if (sum != count * id + count * (count - 1) / 2) Fail("a payload that is not what was written");
}

inline uint64_t FirstWord(const void* bytes) {
  uint64_t id;
  std::memcpy(&id, bytes, sizeof(id));
  return id;
}

}  // namespace ipcrpc::bench
