// ipcrpc-monitord: the live state of the machine and its network, served by RPC.
#include <stdio.h>
#include <stdlib.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "ipcrpc/daemon.h"
#include "services/monitor/kernel_events_service.h"
#include "services/monitor/monitor_snapshots.h"
#include "services/monitor/net_events_service.h"
#include "services/monitor/system_reader.h"
#include "services/monitor/system_status_service.h"
#include "services/monitord/options.h"

namespace ipcrpc::monitor {
namespace {

constexpr auto kDrain = std::chrono::seconds(1);

// Of messages, for each change that the history may hold.
constexpr size_t kHistoryBytesPerChange = 512;

// What can change while it runs, does; what cannot is said.
void Apply(const Options& options, const Options& changed, std::optional<MonitorSnapshots>& snapshots,
           const std::function<void(const std::string&)>& warn) {
  if (snapshots) snapshots->SetStatusInterval(std::chrono::milliseconds(changed.snapshot_interval_ms));
  std::string others;
  for (const std::string& name : ChangedOptions(options, changed)) {
    if (name != "snapshot-interval") others += (others.empty() ? "" : ", ") + name;
  }
  if (!others.empty()) warn(options.config + ": a change that takes a restart: " + others);
}

using Parse = std::function<std::variant<Options, Exit>()>;

int Serve(Daemon& daemon, const Options& options, const Parse& parse_again) {
  const auto warn = [&](const std::string& text) { daemon.Log(LogSeverity::kWarning, text); };
  if (!options.log_fifo.empty()) daemon.SetLogFifo(options.log_fifo);
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
  const SystemReader reader;
  SystemStatusService system_status(&reader);
  KernelEventsService kernel_events(options.process_events);
  std::optional<MonitorSnapshots> snapshots;

  // Everybody on the machine may ask, unless the address says otherwise.
  for (const std::string& address : options.addresses) daemon.Listen(address, "mode=0666");
  daemon.Register(&system_status).Register(&net_events).Register(&kernel_events);
  daemon.OnStart([&](Server&) {
    if (options.snapshots) {
      snapshots.emplace(net_monitor->get(), &reader,
                        MonitorSnapshots::Options{
                            .base = options.snapshot_base,
                            .status_interval = std::chrono::milliseconds(options.snapshot_interval_ms)},
                        warn);
    }
    if (!options.only_standard_io && !(*net_monitor)->warning().empty()) warn((*net_monitor)->warning());
    return Status::OK;
  });
  if (!options.config.empty()) {
    daemon.OnReload([&] {
      const auto parsed = parse_again();
      if (const Exit* wrong = std::get_if<Exit>(&parsed))
        return Status(StatusCode::INVALID_ARGUMENT, wrong->text);
      Apply(options, std::get<Options>(parsed), snapshots, warn);
      return Status::OK;
    });
  }
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
  const Parse parse = [&] { return ParseOptions(argc, argv); };
  const auto parsed = parse();
  if (const Exit* exit = std::get_if<Exit>(&parsed)) {
    if (exit->code == 0) {
      fputs(exit->text.c_str(), stdout);
    } else {
      daemon.Log(LogSeverity::kError, exit->text);
    }
    return exit->code;
  }
  const Options& options = std::get<Options>(parsed);
  if (!options.runtime_dir.empty()) setenv("IPCRPC_RUNTIME_DIR", options.runtime_dir.c_str(), 1);
  return Serve(daemon, options, parse);
}

}  // namespace
}  // namespace ipcrpc::monitor

int main(int argc, char** argv) { return ipcrpc::monitor::Main(argc, argv); }
