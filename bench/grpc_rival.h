// gRPC C++ over a Unix socket as a rival. In a program of its own, since its generated messages and ours would be the
// same symbols.
#pragma once

#include <string>

#include "bench/workload.h"

namespace ipcrpc::bench {

// The program beside this one; empty when it was not built (libgrpc++-dev was not there).
std::string GrpcEchoProgram();

// `socket_path` is free to be bound when the server starts.
std::unique_ptr<Workload> GrpcEcho(const std::string& program, const std::string& socket_path);

}  // namespace ipcrpc::bench
