// What is measured: a unary call by a generated stub, over one of this library's addresses.
#pragma once

#include <string>

#include "bench/workload.h"

namespace ipcrpc::bench {

// `address` is free to be bound when the server starts.
std::unique_ptr<Workload> RpcEcho(const std::string& address);

}  // namespace ipcrpc::bench
