// Floors without a message: what it costs two processes to notice each other.
#pragma once

#include "bench/workload.h"

namespace ipcrpc::bench {

// Two words on two cache lines, both sides spinning: nothing between two processors is faster.
std::unique_ptr<Workload> CacheLinePingPong();

// Two futex words, both sides asleep while the other has its turn.
std::unique_ptr<Workload> FutexPingPong();

// Messages of an echo's size over a connected pair of Unix stream sockets, blocking.
std::unique_ptr<Workload> SocketPingPong();

// A cache-line round trip between the processors, in ns: the lower quartile of batches without a clock read inside, so
// that others who use the processors meanwhile count for little. Takes 2 ms. It tells where the host has the processors
// just now: figures compare only where it agrees.
double ProbeCacheLineNs(int client_cpu, int server_cpu);

}  // namespace ipcrpc::bench
