// When a peer from which nothing comes counts as dead. For those whose death the kernel does not tell, and for programs
// that take a stopped peer for a dead one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "transport/base/clock.h"

namespace ipcrpc::rpc {

struct Keepalive {
  int64_t time_ns = kNoDeadline;  // of silence, then the peer is asked; kNoDeadline: never
  int64_t timeout_ns = 20'000'000'000;
  bool without_calls = false;

  // From the arguments' milliseconds. 0, less, and the largest int mean never, as in gRPC.
  void SetTimeMs(int ms) {
    time_ns = ms <= 0 || ms == std::numeric_limits<int>::max() ? kNoDeadline : int64_t{ms} * 1'000'000;
  }
  void SetTimeoutMs(int ms) { timeout_ns = std::max(1, ms) * int64_t{1'000'000}; }
};

}  // namespace ipcrpc::rpc
