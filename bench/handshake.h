// The floor of making a connection.
#pragma once

#include <string>

#include "bench/workload.h"

namespace ipcrpc::bench {

// Unix socket: connect, a message of an echo's size to and fro, close; blocking, a connection at a time.
std::unique_ptr<Workload> BareHandshake(const std::string& socket_path);

// What shared memory takes besides: each side makes a memfd (of `segment_bytes`, sealed, mapped, one page of it written), which goes
// with the message; the other checks its seals and size and maps it read-only. A sequenced-packet socket; of each mapping no more
// is touched than that page.
std::unique_ptr<Workload> MemoryHandshake(const std::string& socket_path, size_t segment_bytes);

}  // namespace ipcrpc::bench
