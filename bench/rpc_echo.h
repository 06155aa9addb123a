// What is measured: calls by a generated stub, over one of this library's addresses.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/workload.h"

namespace ipcrpc::bench {

// Where a server listens and its client connects. Descriptors that were made for it are named by the addresses
// and closed by whoever they are not for.
struct Endpoints {
  std::string server_address, client_address;
  std::vector<int> server_fds, client_fds;
};
using EndpointsFactory = std::function<Endpoints()>;

// Free to be bound when the server starts.
Endpoints At(const std::string& address);
Endpoints InheritedSocketPair();
Endpoints InheritedPipes();

// A unary echo.
std::unique_ptr<Workload> RpcEcho(Endpoints endpoints);
// A stream of messages with `bytes` of payload, echoed; the client writes in one thread and reads in another.
std::unique_ptr<Workload> RpcStream(Endpoints endpoints, size_t bytes);
// Both sides in the client's process, for what does not leave one.
std::unique_ptr<Workload> InOneProcess(std::unique_ptr<Workload> workload, const std::string& address);

}  // namespace ipcrpc::bench
