// The bytes of frames on a byte stream; docs/wire.md, "Byte-stream framing".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ipcrpc::stream {

// Each direction starts with these 8 bytes, then come frames: u32 length (little-endian, of the payload), the
// payload, and zero bytes up to the next multiple of 8. So a payload is always 4 bytes behind a multiple of
// 8 in the stream, and 8-byte aligned in our buffers.
inline constexpr std::array<uint8_t, 4> kMagic = {'i', 'p', 'c', 'S'};
inline constexpr uint8_t kVersion = 1;
inline constexpr uint32_t kPreambleBytes = 8;  // magic, version, three zero bytes
inline constexpr uint32_t kLengthBytes = 4;
inline constexpr uint32_t kAlignment = 8;

// A 64 KiB chunk of a message, its frame header and up to 16 KiB of metadata.
inline constexpr uint32_t kMaxFrameBytes = 80 * 1024;

// What a frame of `payload` bytes takes on the wire.
constexpr size_t WireBytes(size_t payload) {
  return (kLengthBytes + payload + kAlignment - 1) & ~size_t{kAlignment - 1};
}

}  // namespace ipcrpc::stream
