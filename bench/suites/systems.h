// The systems that were built, and where each run's server and client meet.
#pragma once

#include <string>
#include <vector>

#include "bench/program.h"
#include "bench/runner.h"

namespace ipcrpc::bench {

struct System {
  std::string name;
  Row::Kind kind;
  Program program;
  EndpointsFactory endpoints;  // new ones each time
  bool spins = false;          // for ever: of no use where both sides have one processor
  bool connects = true;        // a client may make many connections, one after the other or at once
};

inline constexpr char kShm[] = "ipcrpc shm:";
inline constexpr char kUnix[] = "ipcrpc unix:";
inline constexpr char kGrpc[] = "gRPC C++ sync";
inline constexpr char kGrpcCallback[] = "gRPC C++ callback server";
inline constexpr char kIceoryxPolling[] = "iceoryx polling";

// Ours first. Sockets are made in `directory`. Those whose libraries were not there when this was built are not in it.
std::vector<System> BuiltSystems(const std::string& directory);

// Of one of ours, at another address: "shm:bench?spin=off".
System OursAt(const std::string& name, const std::string& address);

// `system` as a row that calls it as `order` says.
Row RowOf(const System& system, const Order& order, const std::string& base);

}  // namespace ipcrpc::bench
