// Counts what a program asks of malloc, by standing before it.
#pragma once

#include <atomic>
#include <cstdint>

namespace ipcrpc::bench {

// From now on, by all threads; null: no longer.
void CountAllocations(std::atomic<uint64_t>* count);

}  // namespace ipcrpc::bench
