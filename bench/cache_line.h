// The floor of all floors: what it costs two processors to notice each other.
#pragma once

#include "bench/workload.h"

namespace ipcrpc::bench {

// Two words on two cache lines, both sides spinning: nothing between two processors is faster.
std::unique_ptr<Workload> CacheLinePingPong();

// A cache-line round trip between the processors, in ns: the lower quartile of batches without a clock read inside, so
// that others who use the processors meanwhile count for little. Takes 2 ms. It tells where the host has the processors
// just now: figures compare only where it agrees.
double ProbeCacheLineNs(int client_cpu, int server_cpu);

}  // namespace ipcrpc::bench
