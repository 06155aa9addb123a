// Copying into and out of shared memory.
//
// glibc 2.36 memcpy turns to `rep movsb` from about 2 KiB, which falls to 2-3 GB/s on Zen 3 when source and
// destination differ by 16 mod 64: malloc's usual alignment against a ring's. A plain vector loop has
// 34-50 GB/s at every offset.
#pragma once

#include <cstddef>
#include <cstring>

namespace ipcrpc {

void CopyLarge(std::byte* to, const std::byte* from, size_t size);

// Reads every byte of `from` exactly once, so that a peer which changes it meanwhile cannot show two faces.
inline void CopyBytes(std::byte* to, const std::byte* from, size_t size) {
#if defined(IPCRPC_TSAN)
  std::memcpy(to, from, size);
#else
  if (size >= 1024) {
    CopyLarge(to, from, size);
  } else if (size != 0) {
    std::memcpy(to, from, size);
  }
#endif
  // Or the compiler might leave the copy out and read `from` again wherever the copy is used.
  asm volatile("" ::: "memory");
}

}  // namespace ipcrpc
