// ipcrpc-monitord: the live state of the machine and its network, served by RPC.
#include <signal.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "ipcrpc/ext/proto_server_reflection_plugin.h"
#include "ipcrpc/ipcrpc.h"
#include "services/monitor/net_events_service.h"
#include "services/monitor/system_status_service.h"

namespace ipcrpc::monitor {
namespace {

constexpr auto kDrain = std::chrono::seconds(2);

// Everybody on the machine may ask, unless the address says otherwise.
std::string WithMode(const std::string& address) {
  const size_t query = address.find('?');
  if (query == std::string::npos) return address + "?mode=0666";
  return address.find("mode=", query) == std::string::npos ? address + "&mode=0666" : address;
}

int Serve(const std::vector<std::string>& addresses) {
  // Before the first thread, so that all inherit it: the signals are this thread's, by sigwait.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  const auto report = [](const absl::Status& problem) {
    std::fprintf(stderr, "ipcrpc-monitord: %s\n", std::string(problem.message()).c_str());
  };
  auto net_monitor = NetMonitor::Start(report);
  if (!net_monitor.ok()) {
    report(net_monitor.status());
    return 1;
  }
  NetEventsService net_events(net_monitor->get());
  SystemStatusService system_status;

  reflection::InitProtoReflectionServerBuilderPlugin();
  ServerBuilder builder;
  for (const std::string& address : addresses) builder.AddListeningPort(WithMode(address));
  builder.RegisterService(&system_status).RegisterService(&net_events);
  const std::unique_ptr<Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "ipcrpc-monitord: %s\n", builder.error().c_str());
    return 1;
  }
  for (const std::string& address : addresses) std::fprintf(stderr, "ipcrpc-monitord: listening on %s\n", address.c_str());

  int signal;
  sigwait(&ends, &signal);
  (*net_monitor)->Shutdown();
  system_status.Close();
  server->Shutdown(std::chrono::steady_clock::now() + kDrain);
  return 0;
}

}  // namespace
}  // namespace ipcrpc::monitor

int main(int argc, char** argv) {
  CLI::App app("Serves the live state of this machine (ipcrpc.monitor.v1.SystemStatus) and of its network "
               "(ipcrpc.monitor.v1.NetEvents) until SIGTERM or SIGINT.",
               "ipcrpc-monitord");
  std::vector<std::string> addresses;
  std::string runtime_dir;
  app.add_option("--listen", addresses, "Address to listen on, any number of times; shm:monitor if left out")
      ->take_all()
      ->type_name("ADDRESS");
  app.add_option("--runtime-dir", runtime_dir, "Directory of the names; else $IPCRPC_RUNTIME_DIR, $XDG_RUNTIME_DIR/ipcrpc or /run/ipcrpc")
      ->type_name("DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!runtime_dir.empty()) setenv("IPCRPC_RUNTIME_DIR", runtime_dir.c_str(), 1);
  if (addresses.empty()) addresses.push_back("shm:monitor");
  return ipcrpc::monitor::Serve(addresses);
}
