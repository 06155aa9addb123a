// The floors that calls are held to: an echo through a bare ring of slots in shared memory, without anything that makes
// an RPC of it (no connection, methods, checks, deadlines, threads). One call in flight.
#pragma once

#include "bench/workload.h"

namespace ipcrpc::bench {

// How a side waits for its turn.
struct RingWait {
  bool forever = false;   // spin until it comes
  double spin_us = 0;     // else spin for so long, then sleep on a futex
};

// By protobuf: serialised into the slot, parsed from a copy of it, into objects that are used again.
std::unique_ptr<Workload> RingEcho(size_t bytes, RingWait wait);

// Bytes alone, copied in and out by each side with transport's own copy loop; spins.
std::unique_ptr<Workload> SharedMemoryEcho(size_t bytes);

}  // namespace ipcrpc::bench
