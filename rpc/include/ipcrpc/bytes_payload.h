// One `bytes` field as a message, without protobuf's copies.
#pragma once

#include "ipcrpc/export.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/byte_buffer.h"
#include "ipcrpc/support/serialization_traits.h"
#include "ipcrpc/support/slice.h"

namespace ipcrpc {

// On the wire it is a protobuf message with `bytes data = 1;`, such as google.protobuf.BytesValue, so that the peer may use either:
// a method declared with that type can be called with TemplatedGenericStub<BytesPayload, BytesPayload>, and what
// WithRawCallbackMethod_… gives as a ByteBuffer can be read with Parse() and answered with ToByteBuffer().
// A message that has other fields, or the field twice, is read for its last `bytes data = 1`, as protobuf does. Up to 2 GiB.
struct IPCRPC_EXPORT BytesPayload {
  Slice data;

  // Shares the slices where the field lies in one of them; else it is a copy. INVALID_ARGUMENT: it is no such message; `*payload` is
  // as it was then.
  static Status Parse(const ByteBuffer& message, BytesPayload* payload);
  // Shares `data`, behind a few bytes.
  ByteBuffer ToByteBuffer() const;
};

template <>
class SerializationTraits<BytesPayload, void> {
 public:
  static Status Serialize(const BytesPayload& payload, ByteBuffer* buffer, bool* own_buffer) {
    *buffer = payload.ToByteBuffer();
    *own_buffer = true;
    return Status();
  }
  static Status Deserialize(ByteBuffer* buffer, BytesPayload* payload) {
    const Status status = BytesPayload::Parse(*buffer, payload);
    buffer->Clear();
    return status;
  }
};

}  // namespace ipcrpc
