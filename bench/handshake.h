// The floor of making a connection.
#pragma once

#include <string>

#include "bench/workload.h"

namespace ipcrpc::bench {

// Unix socket: connect, a message of an echo's size to and fro, close; blocking, a connection at a time.
std::unique_ptr<Workload> BareHandshake(const std::string& socket_path);

}  // namespace ipcrpc::bench
