// Messages with their types on one side, bytes on the other: what stubs, handlers and streams hand to the
// calls beneath them. Not for users.
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "ipcrpc/internal/call.h"

namespace ipcrpc::internal {

// How a T becomes bytes and back. This one is protobuf's, for generated and dynamic messages; other types
// join by a specialisation with the same three functions, whose contracts are those of OutgoingMessage and
// IncomingMessage.
template <typename T, typename Enable = void>
struct MessageCodec;

template <typename T>
struct MessageCodec<T, std::enable_if_t<std::is_base_of_v<google::protobuf::MessageLite, T>>> {
  static size_t Size(const void* message) { return static_cast<const T*>(message)->ByteSizeLong(); }

  static void Write(const void* message, std::byte* out, size_t /*size*/) {
    // The sizes cached by Size() bound what is written: never more, and never read back.
    static_cast<const T*>(message)->SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(out));
  }

  static bool Parse(void* message, const std::byte* data, size_t size) {
    if (size > static_cast<size_t>(std::numeric_limits<int>::max())) return false;  // protobuf's own limit
    return static_cast<T*>(message)->ParseFromArray(data, static_cast<int>(size));
  }
};

// Both borrow the message.
template <typename T>
OutgoingMessage Outgoing(const T& message) {
  using Codec = MessageCodec<T>;
  return {.message = &message, .size = &Codec::Size, .write = &Codec::Write};
}

template <typename T>
IncomingMessage Incoming(T* message) {
  using Codec = MessageCodec<T>;
  return {.message = message, .parse = &Codec::Parse};
}

}  // namespace ipcrpc::internal
