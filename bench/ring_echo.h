// The floor that a call is held to: an echo by protobuf through a bare ring of slots in shared memory, without
// anything that makes an RPC of it (no connection, methods, checks, deadlines, threads).
#pragma once

#include "bench/workload.h"

namespace ipcrpc::bench {

// How a side waits for its turn.
struct RingWait {
  bool forever = false;   // spin until it comes
  double spin_us = 0;     // else spin for so long, then sleep on a futex
};

// One call in flight: messages are serialised into the slot and parsed from a copy of it, by protobuf, into
// objects that are used again.
std::unique_ptr<Workload> RingEcho(RingWait wait);

}  // namespace ipcrpc::bench
