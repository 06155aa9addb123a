// Messages with their types on one side, bytes on the other: what stubs, handlers and streams hand to the
// calls beneath them. Not for users.
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>

#include "ipcrpc/internal/call.h"

namespace ipcrpc::internal {

// From this size on messages go by another way, on which no large copy is protobuf's: see large_message.cc.
inline constexpr size_t kLargeMessage = 2048;
IPCRPC_EXPORT void WriteLarge(const google::protobuf::MessageLite& message, std::span<std::byte> out);
IPCRPC_EXPORT void WriteLarge(const google::protobuf::MessageLite& message, MessageSink& sink, size_t size);
IPCRPC_EXPORT bool ParseLarge(google::protobuf::MessageLite& message, const std::byte* data, int size);
IPCRPC_EXPORT void CopyLargeMessage(void* to, const void* from, size_t size);

// For bytes of a message: memcpy, but for large ones, for which glibc's is slow (large_message.cc).
inline void Copy(void* to, const void* from, size_t size) {
  if (size >= kLargeMessage) [[unlikely]] return CopyLargeMessage(to, from, size);
  if (size != 0) std::memcpy(to, from, size);
}

// How a T becomes bytes and back. This one is protobuf's, for generated and dynamic messages; other types
// join by a specialisation with the same functions; their contracts are those of OutgoingMessage and IncomingMessage. WritePieces()
// may be left out; Slices() and Adopt() are for what consists of slices.
template <typename T, typename Enable = void>
struct MessageCodec;

template <typename T>
struct MessageCodec<T, std::enable_if_t<std::is_base_of_v<google::protobuf::MessageLite, T>>> {
  static size_t Size(const void* message) { return static_cast<const T*>(message)->ByteSizeLong(); }

  // The sizes cached by Size() bound what is written: never more.
  static void Write(const void* message, std::byte* out, size_t size) {
    if (size >= kLargeMessage) [[unlikely]] return WriteLarge(*static_cast<const T*>(message), {out, size});
    static_cast<const T*>(message)->SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(out));
  }

  static void WritePieces(const void* message, MessageSink& sink, size_t size) { WriteLarge(*static_cast<const T*>(message), sink, size); }

  static bool Parse(void* message, const std::byte* data, size_t size) {
    if (size > static_cast<size_t>(std::numeric_limits<int>::max())) return false;  // protobuf's own limit
    if (size >= kLargeMessage) [[unlikely]] return ParseLarge(*static_cast<T*>(message), data, static_cast<int>(size));
    return static_cast<T*>(message)->ParseFromArray(data, static_cast<int>(size));
  }
};

// Both borrow the message.
template <typename T>
OutgoingMessage Outgoing(const T& message) {
  using Codec = MessageCodec<T>;
  OutgoingMessage outgoing = {.message = &message, .size = &Codec::Size, .write = &Codec::Write};
  if constexpr (requires { &Codec::WritePieces; }) outgoing.write_pieces = &Codec::WritePieces;
  if constexpr (requires { &Codec::Slices; }) outgoing.slices = &Codec::Slices;
  if constexpr (requires { &Codec::Forget; }) outgoing.forget = &Codec::Forget;
  return outgoing;
}

template <typename T>
IncomingMessage Incoming(T* message) {
  using Codec = MessageCodec<T>;
  IncomingMessage incoming = {.message = message, .parse = &Codec::Parse};
  if constexpr (requires { &Codec::Adopt; }) incoming.adopt = &Codec::Adopt;
  return incoming;
}

}  // namespace ipcrpc::internal
