// The ring reader, on a ring that its writer fills as it likes: each record is inside the ring or a fault, positions go
// forward by less than a lap at a time, and an end comes.
//
// Input: pieces of {u16 place in units of 8 bytes, u8 length, bytes}, written into the ring; then the reader reads.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "transport/shm/ring.h"

namespace {

using ipcrpc::shm::RingReader;

constexpr uint32_t kRingBytes = ipcrpc::shm::kMinRingBytes;
// A ring full of the smallest records, three times round.
constexpr int kMostRecords = 3 * kRingBytes / 64;

struct alignas(64) Ring {
  std::byte bytes[kRingBytes];
};

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void Fill(Ring& ring, const std::uint8_t* data, std::size_t size) {
  while (size >= 3) {
    const uint32_t place = (data[0] | data[1] << 8) % (kRingBytes / 8) * 8;
    std::size_t length = data[2];
    data += 3, size -= 3;
    if (length > size) length = size;
    if (length > kRingBytes - place) length = kRingBytes - place;
    std::memcpy(ring.bytes + place, data, length);
    data += length, size -= length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // On the heap, so that AddressSanitizer sees the first byte beyond it.
  const auto ring = std::make_unique<Ring>();
  std::memset(ring->bytes, 0, kRingBytes);
  Fill(*ring, data, size);
  RingReader reader(ring->bytes, kRingBytes);
  uint8_t sum = 0;
  for (int i = 0; i < kMostRecords; ++i) {
    const uint64_t before = reader.head();
    const std::byte* frame = nullptr;
    uint32_t bytes = 0;
    const RingReader::Next next = reader.Peek(&frame, &bytes);
    Require(reader.head() - before < kRingBytes, "a wrap of a lap or more");
    if (next == RingReader::Next::kEmpty || next == RingReader::Next::kFault) break;
    Require(frame >= ring->bytes && bytes > 0 && bytes <= kRingBytes, "a frame outside the ring");
    Require(frame + bytes <= ring->bytes + kRingBytes, "a frame beyond the end of the ring");
    for (uint32_t b = 0; b < bytes; b += 61) sum ^= static_cast<uint8_t>(frame[b]);
    reader.Consume();
    Require(reader.head() > before && reader.head() % 64 == 0, "a position that does not go forward by whole lines");
  }
  volatile uint8_t used = sum;
  static_cast<void>(used);
  return 0;
}
