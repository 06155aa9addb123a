// The parameter ?buffer=BYTES of byte-stream schemes: how much the kernel keeps between the two ends, each way.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"

namespace ipcrpc::stream {

// The parameter; 0 when left out.
absl::StatusOr<int> BufferParameter(const Address& address);

// Gives a socket or a pipe at least such a buffer; nothing to do for 0. FAILED_PRECONDITION when the kernel refuses,
// naming its limit.
absl::Status SetBuffer(int fd, int bytes);

}  // namespace ipcrpc::stream
