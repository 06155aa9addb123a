#include "transport/base/copy.h"

#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace ipcrpc {

void CopyLarge(std::byte* to, const std::byte* from, size_t size) {
#if defined(__SSE2__)
  // What is stored should lie within one cache line.
  if (const size_t head = -reinterpret_cast<uintptr_t>(to) % 16; head != 0 && size >= 64) {
    std::memcpy(to, from, head);
    from += head;
    to += head;
    size -= head;
  }
  while (size >= 64) {
    const __m128i* source = reinterpret_cast<const __m128i*>(from);
    __m128i* target = reinterpret_cast<__m128i*>(to);
    const __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
    const __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);
    _mm_storeu_si128(target, a);
    _mm_storeu_si128(target + 1, b);
    _mm_storeu_si128(target + 2, c);
    _mm_storeu_si128(target + 3, d);
    from += 64;
    to += 64;
    size -= 64;
  }
#endif
  std::memcpy(to, from, size);
}

}  // namespace ipcrpc
