// How messages become bytes: what users specialise for types of their own.
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <span>
#include <type_traits>

#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/byte_buffer.h"

namespace ipcrpc {

// For a T of one's own, specialise
//   static Status Serialize(const T& message, ByteBuffer* buffer, bool* own_buffer);  // *own_buffer: ignored here
//   static Status Deserialize(ByteBuffer* buffer, T* message);                        // may clear the buffer
// and T can be the message of any call. Both by several threads at once.
template <class T, class UnusedButForSpecialisation = void>
class SerializationTraits;

template <>
class SerializationTraits<ByteBuffer, void> {
 public:
  static Status Serialize(const ByteBuffer& source, ByteBuffer* buffer, bool* own_buffer) {
    *buffer = source;
    *own_buffer = true;
    return Status();
  }
  static Status Deserialize(ByteBuffer* buffer, ByteBuffer* destination) {
    destination->Swap(buffer);
    buffer->Clear();
    return Status();
  }
};

template <class T>
class SerializationTraits<T, std::enable_if_t<std::is_base_of_v<google::protobuf::MessageLite, T>>> {
 public:
  static Status Serialize(const google::protobuf::MessageLite& message, ByteBuffer* buffer, bool* own_buffer) {
    const Slice bytes(message.SerializeAsString());
    *buffer = ByteBuffer(&bytes, 1);
    *own_buffer = true;
    return Status();
  }
  // INTERNAL: there is no buffer, or it does not parse.
  static Status Deserialize(ByteBuffer* buffer, google::protobuf::MessageLite* message) {
    Slice bytes;
    if (buffer == nullptr || !buffer->DumpToSingleSlice(&bytes).ok()) return Status(StatusCode::INTERNAL, "no payload");
    buffer->Clear();
    if (message->ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) return Status();
    return Status(StatusCode::INTERNAL, message->InitializationErrorString());
  }
};

namespace internal {

template <typename T>
struct MessageCodec<T, std::enable_if_t<!std::is_base_of_v<google::protobuf::MessageLite, T>>> {
  static size_t Size(const void* message) {
    bool ignored = true;
    ByteBuffer& bytes = Serialised();
    if (!SerializationTraits<T>::Serialize(*static_cast<const T*>(message), &bytes, &ignored).ok()) bytes.Clear();
    return bytes.Length();
  }
  static void Write(const void*, std::byte* out, size_t size) {
    const ByteBuffer bytes = TakeSerialised();
    MessageCodec<ByteBuffer>::Write(&bytes, out, size);
  }
  static void WritePieces(const void*, MessageSink& sink, size_t size) {
    const ByteBuffer bytes = TakeSerialised();
    MessageCodec<ByteBuffer>::WritePieces(&bytes, sink, size);
  }
  static std::span<const Slice> Slices(const void*) { return MessageCodec<ByteBuffer>::Slices(&Serialised()); }
  static void Forget(const void*) { Serialised().Clear(); }
  static bool Parse(void* message, const std::byte* data, size_t size) {
    const Slice bytes = CopyOf(data, size);
    return Adopt(message, {&bytes, 1});
  }
  static bool Adopt(void* message, std::span<const Slice> slices) {
    ByteBuffer bytes(slices.data(), slices.size());
    return SerializationTraits<T>::Deserialize(&bytes, static_cast<T*>(message)).ok();
  }

 private:
  // Between Size() and what follows it on the same thread: Write(), WritePieces() or Forget().
  static ByteBuffer& Serialised() {
    thread_local ByteBuffer bytes;
    return bytes;
  }
  static ByteBuffer TakeSerialised() {
    ByteBuffer bytes;
    bytes.Swap(&Serialised());
    return bytes;
  }
};

}  // namespace internal
}  // namespace ipcrpc
