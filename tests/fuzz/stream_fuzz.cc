// The framing of byte streams: any bytes, in pieces of any size, give frames within the limit or a fault; and
// the same frames whatever the pieces. The first byte of the input chooses the size of the pieces.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "transport/base/status_macros.h"
#include "transport/stream/buffers.h"

namespace {

using ipcrpc::stream::InBuffer;

struct Outcome {
  std::vector<std::vector<std::byte>> frames;
  bool fault = false;
  bool operator==(const Outcome&) const = default;
};

Outcome Read(const uint8_t* data, size_t size, size_t piece) {
  Outcome outcome;
  InBuffer in;
  while (true) {
    std::span<const std::byte> frame;
    const InBuffer::Next next = in.Peek(&frame);
    if (next == InBuffer::Next::kFault) {
      IPCRPC_CHECK(!in.fault().ok());
      outcome.fault = true;
      return outcome;
    }
    if (next == InBuffer::Next::kFrame) {
      IPCRPC_CHECK(!frame.empty() && frame.size() <= ipcrpc::stream::kMaxFrameBytes);
      IPCRPC_CHECK(reinterpret_cast<uintptr_t>(frame.data()) % 8 == 0);
      outcome.frames.emplace_back(frame.begin(), frame.end());
      in.Consume();
      continue;
    }
    if (size == 0) return outcome;
    const std::span<std::byte> room = in.Room();
    IPCRPC_CHECK(!room.empty());
    const size_t bytes = std::min({size, piece, room.size()});
    std::memcpy(room.data(), data, bytes);
    in.Filled(bytes);
    data += bytes;
    size -= bytes;
    in.Trim();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = 1 + data[0] * 7u;
  const Outcome whole = Read(data + 1, size - 1, size);
  IPCRPC_CHECK(Read(data + 1, size - 1, piece) == whole);
  return 0;
}
