// Memory that messages are sent from, for tests.
#pragma once

#include <ipcrpc/memory_pool.h>
#include <ipcrpc/registered_memory.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/behaviour/generic_kit.h"

namespace behaviour {

using ipcrpc::MemoryPool;

inline constexpr char kUnary[] = "/behaviour.Methods/Unary";
inline constexpr size_t kMiB = 1024 * 1024;

// Whether a mapping of a memfd has it.
inline bool InSharedMemory(const void* bytes) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin, end;
    char dash;
    std::istringstream fields(line);
    fields >> std::hex >> begin >> dash >> end;
    const auto at = reinterpret_cast<uintptr_t>(bytes);
    if (at >= begin && at < end) return line.find("/memfd:ipcrpc") != std::string::npos;
  }
  return false;
}

inline std::string Pattern(size_t bytes, unsigned seed = 1) {
  std::string text(bytes, '\0');
  for (char& byte : text) byte = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return text;
}

inline std::unique_ptr<MemoryPool> NewPool(size_t bytes) {
  std::unique_ptr<MemoryPool> pool;
  const Status status = MemoryPool::Create(bytes, &pool);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return pool;
}

inline Slice Lend(MemoryPool& pool, const std::string& text) {
  ipcrpc::Loan loan = pool.Take(text.size());
  std::memcpy(loan.bytes().data(), text.data(), text.size());
  return std::move(loan).Seal();
}

inline Slice Register(const std::string& text) {
  Slice slice;
  const auto fill = [&](std::span<std::byte> out) { std::memcpy(out.data(), text.data(), text.size()); };
  const Status status = ipcrpc::RegisterMemory(text.size(), fill, &slice);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return slice;
}

inline ByteBuffer Of(const std::vector<Slice>& slices) { return ByteBuffer(slices.data(), slices.size()); }

inline std::vector<Slice> SlicesOf(const ByteBuffer& buffer) {
  std::vector<Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  return slices;
}

}  // namespace behaviour
