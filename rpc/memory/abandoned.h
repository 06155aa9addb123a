// What a peer still held when its connection ended. It may go on reading there as long as it has the memory mapped: until its
// process has ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "ipcrpc/support/slice.h"

namespace ipcrpc::rpc {

// Keeps the slices, for the whole process, until that one has ended (ProcessAlive(), of transport/base/process.h). Sweeps, too.
// Thread-safe. REQUIRES: `pid` is one of this PID namespace; another's end could not be seen.
void AbandonTo(std::vector<Slice> slices, pid_t pid, uint64_t start_time);

// Lets go of what was left with processes that have ended. Thread-safe.
void FreeAbandonedLoans();

}  // namespace ipcrpc::rpc
