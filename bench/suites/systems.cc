#include "bench/suites/systems.h"

#include "bench/suites/roudi.h"

namespace ipcrpc::bench {
namespace {

constexpr char kOurProgram[] = "ipcrpc_echo";

// A name or path that no run before had.
EndpointsFactory Fresh(const std::string& prefix) {
  return [=] {
    static int run = 0;
    return At(prefix + "." + std::to_string(run++));
  };
}

}  // namespace

System OursAt(const std::string& name, const std::string& address) {
  return {name, Row::Kind::kOurs, FindProgram(kOurProgram, "sync"), [=] { return At(address); }};
}

std::vector<System> BuiltSystems(const std::string& directory) {
  std::vector<System> systems = {OursAt(kShm, "shm:bench"), OursAt(kUnix, "unix:bench")};
  const auto rival = [&](const std::string& name, const std::string& program, const std::string& variant, EndpointsFactory endpoints) {
    System system = {name, Row::Kind::kRival, FindProgram(program, variant), std::move(endpoints)};
    if (!system.program.path.empty()) systems.push_back(std::move(system));
  };
  const auto socket = [&](const std::string& name, const std::string& scheme = "") {
    return Fresh(scheme + directory + "/" + name);
  };
  rival(kGrpc, "grpc_echo", "sync", socket("grpc", "unix:"));
  rival(kGrpcCallback, "grpc_echo", "callback", socket("grpc-callback", "unix:"));
  rival("Cap'n Proto", "capnp_echo", "sync", socket("capnp", "unix:"));
  rival("sd-bus", "sdbus_echo", "sync", socket("sdbus"));
  rival("Thrift", "thrift_echo", "sync", socket("thrift"));
  rival("ZeroMQ", "zeromq_echo", "sync", socket("zeromq", "ipc://"));
  if (Roudi::Installed()) {
    // RouDi runs while somebody could use it.
    const auto roudi = std::make_shared<Roudi>(directory);
    for (const std::string variant : {"polling", "waitset"}) {
      const auto endpoints = [roudi, fresh = Fresh(variant)] {
        roudi->Start();
        return fresh();
      };
      rival(variant == "polling" ? kIceoryxPolling : "iceoryx WaitSet", "iceoryx_echo", variant, endpoints);
    }
  }
  for (System& system : systems) {
    system.spins = system.name == kIceoryxPolling;
    system.connects = system.program.path.find("iceoryx") == std::string::npos;
  }
  return systems;
}

Row RowOf(const System& system, const Order& order, const std::string& base) {
  return {.name = system.name, .kind = system.kind, .order = order,
          .make = [system] { return RunProgram(system.program, system.endpoints()); }, .base = base};
}

}  // namespace ipcrpc::bench
