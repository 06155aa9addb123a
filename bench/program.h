// Systems that are programs of their own (systems/echo_system.h) as workloads.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/workload.h"

namespace ipcrpc::bench {

// A program beside this one and how it is to be run. Empty path: it was not built, since what it measures was not there.
struct Program {
  std::string path;
  std::string variant;
};
Program FindProgram(const std::string& name, const std::string& variant);

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

std::unique_ptr<Workload> RunProgram(const Program& program, Endpoints endpoints);
// Both sides in the client's process, for what does not leave one.
std::unique_ptr<Workload> RunInOneProcess(const Program& program, const std::string& address);

// Each call a new process, which makes one call and exits.
std::unique_ptr<Workload> OneShot(const Program& program, Endpoints endpoints);
// The same without the call: a process that loads the same libraries and exits.
std::unique_ptr<Workload> EmptyProcess(const Program& program);

}  // namespace ipcrpc::bench
