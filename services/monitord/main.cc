// ipcrpc-monitord: the live state of the machine and its network, served by RPC.
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ipcrpc/daemon.h"
#include "services/monitor/kernel_events_service.h"
#include "services/monitor/monitor_snapshots.h"
#include "services/monitor/net_events_service.h"
#include "services/monitor/system_status_service.h"

namespace ipcrpc::monitor {
namespace {

constexpr auto kDrain = std::chrono::seconds(1);

const std::map<std::string, uint64_t> kTimeUnits = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};

struct Options {
  std::vector<std::string> addresses;
  bool snapshots = true;
  std::string snapshot_base;
  uint64_t snapshot_interval_ms = 1000;
  std::vector<std::string> netns;
  uint64_t history = 16'384;
  int netlink_buffer = 16 << 20;
  uint64_t verify_interval_ms = 60'000;
  bool process_events = false;
  bool only_standard_io = false;  // whoever started us hears our standard error, and wants none of it
};

// Of messages, for each change that the history may hold.
constexpr size_t kHistoryBytesPerChange = 512;

// Schemes whose addresses are no places that others find.
const std::set<std::string> kInherited = {"socketpair", "pipe", "exec", "stdio"};

// What stands between the scheme and the parameters, if it is a name or a path that others find.
std::string NameIn(const std::string& address) {
  const size_t colon = address.find(':');
  if (colon != std::string::npos && kInherited.count(address.substr(0, colon)) != 0) return "";
  const size_t begin = colon == std::string::npos ? 0 : colon + 1;
  const std::string rest = address.substr(begin, address.find('?', begin) - begin);
  return rest.starts_with('@') ? "" : rest;  // abstract names have no permissions, and no directory
}

// What snapshots are called after: the first address that is a name or a path; "" when who asks alone gets to
// know of this process.
std::string SnapshotBase(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    if (const std::string name = NameIn(address); !name.empty()) return name;
  }
  const bool private_to_one = std::all_of(addresses.begin(), addresses.end(), [](const std::string& address) {
    return kInherited.count(address.substr(0, address.find(':'))) != 0;
  });
  return private_to_one ? "" : "monitor";
}

// As for watches of the status.
std::string IntervalError(uint64_t ms) {
  return ms >= 10 && ms <= kTimeUnits.at("d") ? "" : "expected 10ms to 1d";
}

int Serve(Daemon& daemon, const Options& options) {
  const auto warn = [&](const std::string& text) { daemon.Log(LogSeverity::kWarning, text); };
  NetMonitor::Options net_options;
  net_options.netns = options.netns;
  net_options.store.history_events_max = options.history;
  net_options.store.history_bytes_max = options.history * kHistoryBytesPerChange;
  net_options.collector.receive_buffer_bytes = options.netlink_buffer;
  net_options.collector.verify_interval = std::chrono::milliseconds(options.verify_interval_ms);
  auto net_monitor = NetMonitor::Start(
      net_options, [&](const absl::Status& problem) { warn(std::string(problem.message())); });
  if (!net_monitor.ok()) {
    daemon.Log(LogSeverity::kError, std::string(net_monitor.status().message()));
    return 1;
  }
  NetEventsService net_events(net_monitor->get());
  SystemStatusService system_status;
  KernelEventsService kernel_events(options.process_events);
  std::optional<MonitorSnapshots> snapshots;

  // Everybody on the machine may ask, unless the address says otherwise.
  for (const std::string& address : options.addresses) daemon.Listen(address, "mode=0666");
  daemon.Register(&system_status).Register(&net_events).Register(&kernel_events);
  daemon.OnStart([&](Server&) {
    if (options.snapshots) {
      snapshots.emplace(net_monitor->get(),
                        MonitorSnapshots::Options{
                            .base = options.snapshot_base,
                            .status_interval = std::chrono::milliseconds(options.snapshot_interval_ms)},
                        warn);
    }
    if (!options.only_standard_io && !(*net_monitor)->warning().empty()) warn((*net_monitor)->warning());
    return Status::OK;
  });
  daemon.OnStop([&] {
    snapshots.reset();
    (*net_monitor)->Shutdown();
    system_status.Close();
    kernel_events.Close();
  });
  // Monitors may be many, as long as their addresses differ.
  return daemon.SetDrain(kDrain).SetOneInstance(false).Run();
}

int Main(int argc, char** argv) {
  Daemon daemon("ipcrpc-monitord");
  CLI::App app(
      "Serves the live state of this machine (ipcrpc.monitor.v1.SystemStatus), of its network "
      "(ipcrpc.monitor.v1.NetEvents), and what the kernel tells of devices and processes "
      "(ipcrpc.monitor.v1.KernelEvents), until SIGTERM or SIGINT.",
      "ipcrpc-monitord");
  Options options;
  std::string runtime_dir;
  bool no_snapshots = false, standard_io = false;
  app.add_option("--listen", options.addresses,
                 "Address to listen on, any number of times; shm:monitor if left out")
      ->take_all()
      ->type_name("ADDRESS");
  app.add_flag("--stdio", standard_io,
               "--listen stdio:, for whoever started this, as in exec:'ipcrpc-monitord --stdio'; alone, it "
               "publishes no "
               "snapshots unless --snapshots names them, and ends when its client hangs up");
  app.add_option("--runtime-dir", runtime_dir,
                 "Directory of the names; else $IPCRPC_RUNTIME_DIR, $XDG_RUNTIME_DIR/ipcrpc or /run/ipcrpc")
      ->type_name("DIR");
  app.add_option("--snapshots", options.snapshot_base,
                 "Publish the state as the snapshots NAME.net and NAME.system; if left out, NAME is that of "
                 "the first address")
      ->type_name("NAME");
  app.add_option(
         "--snapshot-interval", options.snapshot_interval_ms,
         "How often NAME.system is published (NAME.net is at every change), 10ms to 1d; 1s if left out")
      ->transform(CLI::AsNumberWithUnit(kTimeUnits, CLI::AsNumberWithUnit::UNIT_REQUIRED))
      ->check([](const std::string& ms) { return IntervalError(std::stoull(ms)); })
      ->option_text("TIME");
  app.add_option(
         "--netns", options.netns,
         "A network namespace to look into beside our own, any number of times: a name of `ip netns`, or "
         "a path with a slash; needs CAP_SYS_ADMIN")
      ->take_all()
      ->type_name("NAME");
  app.add_option("--history", options.history,
                 "How many changes are kept for watchers and for lists of the past; 16384 if left out")
      ->check(CLI::Range(1, 10'000'000))
      ->type_name("CHANGES");
  app.add_option(
         "--netlink-buffer", options.netlink_buffer,
         "Room for notifications that we have not yet read; what is more is lost, told, and made good "
         "by reading everything anew; 16MB if left out")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(1, 1 << 30))
      ->option_text("SIZE");
  app.add_option(
         "--verify-interval", options.verify_interval_ms,
         "How long after a change everything is read anew, to find what the kernel did not announce (ten "
         "times that when nothing changes); 0s = never; 1m if left out")
      ->transform(CLI::AsNumberWithUnit(kTimeUnits, CLI::AsNumberWithUnit::UNIT_REQUIRED))
      ->option_text("TIME");
  app.add_flag("--process-events", options.process_events,
               "Let whoever may call us watch which processes begin and end; needs CAP_NET_ADMIN");
  app.add_flag("--no-snapshots", no_snapshots, "Publish none");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    daemon.Log(LogSeverity::kError, std::string(error.what()) + " (see ipcrpc-monitord --help)");
    return 2;
  }
  if (standard_io) options.addresses.push_back("stdio:");
  if (!runtime_dir.empty()) setenv("IPCRPC_RUNTIME_DIR", runtime_dir.c_str(), 1);
  if (options.addresses.empty()) options.addresses.push_back("shm:monitor");
  if (options.snapshot_base.empty()) options.snapshot_base = SnapshotBase(options.addresses);
  options.snapshots = !no_snapshots && !options.snapshot_base.empty();
  options.only_standard_io =
      std::all_of(options.addresses.begin(), options.addresses.end(),
                  [](const std::string& address) { return address.starts_with("stdio:"); });
  return Serve(daemon, options);
}

}  // namespace
}  // namespace ipcrpc::monitor

int main(int argc, char** argv) { return ipcrpc::monitor::Main(argc, argv); }
