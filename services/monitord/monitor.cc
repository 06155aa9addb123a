#include "services/monitord/monitor.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ipcrpc/authorization.h"
#include "ipcrpc/child.h"
#include "ipcrpc/health_check_service_interface.h"
#include "services/monitor/kernel_events_relay.h"
#include "services/monitor/kernel_events_service.h"
#include "services/monitor/monitor_control_service.h"
#include "services/monitor/monitor_snapshots.h"
#include "services/monitor/net_events_service.h"
#include "services/monitor/net_replica.h"
#include "services/monitor/remote_status.h"
#include "services/monitor/system_reader.h"
#include "services/monitor/system_status_service.h"
#include "services/monitord/collector.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::milliseconds;

constexpr auto kDrain = std::chrono::seconds(1);

// For a collector to come up for the first time.
constexpr milliseconds kStartPatience{20'000};

// Of messages, for each change that the history may hold.
constexpr size_t kHistoryBytesPerChange = 512;

using Warn = std::function<void(const std::string&)>;

// What health calls the collector.
constexpr char kCollector[] = "collector";

// Says whether there is a collector: in the log, and by the health service while there is a server. Any thread.
class CollectorHealth {
 public:
  explicit CollectorHealth(const Daemon& daemon) : daemon_(daemon) {}

  void Report(const absl::Status& said) {
    daemon_.Log(said.ok() ? LogSeverity::kInfo : LogSeverity::kWarning,
                said.ok() ? "there is a collector again" : std::string(said.message()));
    // All else is said by one that goes on.
    if (!said.ok() && !absl::IsUnavailable(said)) return;
    std::lock_guard lock(mu_);
    serving_ = said.ok();
    if (health_ != nullptr) health_->SetServingStatus(kCollector, serving_);
  }
  // Null: there is none any more.
  void Serve(HealthCheckServiceInterface* health) {
    std::lock_guard lock(mu_);
    health_ = health;
    if (health_ != nullptr) health_->SetServingStatus(kCollector, serving_);
  }

 private:
  const Daemon& daemon_;
  std::mutex mu_;
  HealthCheckServiceInterface* health_ = nullptr;
  bool serving_ = true;
};

// What the services are answered from: the state of the network, and who reads the machine's and the kernel's events.
struct Sources {
  std::unique_ptr<SupervisedChild> collector;  // null: this process collects
  std::unique_ptr<NetMonitor> network;
  std::unique_ptr<StatusSource> status;
  std::unique_ptr<Service> kernel_events;
  std::function<void()> close_kernel_events;
};

NetStore::Options StoreOptions(const Options& options) {
  NetStore::Options store;
  store.history_events_max = options.history;
  store.history_bytes_max = options.history * kHistoryBytesPerChange;
  return store;
}

template <typename KernelEvents>
void SetKernelEvents(std::unique_ptr<KernelEvents> service, Sources* sources) {
  sources->close_kernel_events = [raw = service.get()] { raw->Close(); };
  sources->kernel_events = std::move(service);
}

absl::Status CollectHere(const Options& options, const Warn& warn, Sources* sources) {
  NetMonitor::Options net_options;
  net_options.netns.assign(options.netns.begin(), options.netns.end());
  net_options.store = StoreOptions(options);
  net_options.collector.receive_buffer_bytes = options.netlink_buffer;
  net_options.collector.verify_interval = milliseconds(options.verify_interval_ms);
  auto network = NetMonitor::Start(net_options, [warn](const absl::Status& problem) { warn(std::string(problem.message())); });
  if (!network.ok()) return network.status();
  sources->network = *std::move(network);
  sources->status = std::make_unique<SystemReader>();
  SetKernelEvents(std::make_unique<KernelEventsService>(options.process_events), sources);
  return absl::OkStatus();
}

absl::Status CollectElsewhere(const Options& options, const std::vector<OpenNetns>& netns, CollectorHealth& health,
                              Sources* sources) {
  sources->collector = std::make_unique<SupervisedChild>(SupervisedChild::Options{
      .argv = CollectorArguments(options, netns),
      .name = "collector",
      // A state that is not stale is worth some of a processor's time.
      .max_backoff = milliseconds(250),
      .long_enough = milliseconds(1000)});
  SupervisedChild& collector = *sources->collector;
  Status started = collector.Start();
  if (started.ok()) started = collector.WaitUntilUp(kStartPatience);
  if (!started.ok()) return absl::UnavailableError("no collector: " + started.error_message());
  NetReplica::Options replica;
  for (const OpenNetns& open : netns) replica.netns.push_back(open.netns);
  replica.settings.verify_interval = milliseconds(options.verify_interval_ms);
  auto network = NetMonitor::Start(StoreOptions(options), [&](NetStore* store) -> absl::StatusOr<std::unique_ptr<NetSource>> {
    return NetReplica::Open(store, replica, collector.channel(), [&health](const absl::Status& said) { health.Report(said); });
  });
  if (!network.ok()) return network.status();
  sources->network = *std::move(network);
  sources->status = std::make_unique<RemoteStatus>(collector.channel());
  SetKernelEvents(std::make_unique<KernelEventsRelay>(collector.channel()), sources);
  return absl::OkStatus();
}

AuthorizationPolicy Policy(const Options& options) {
  AuthorizationRule admins = AuthorizationRule().AllowRoot().AllowSameUser();
  if (!options.admin_group.empty()) admins.AllowGroup(options.admin_group);
  return AuthorizationPolicy().SetRule("/ipcrpc.monitor.v1.MonitorControl/*", admins);
}

// What can change while it runs, does; what cannot is said.
Status Apply(const Options& options, const Options& changed, MonitorControlService& control, const Warn& warn) {
  v1::Intervals intervals;
  intervals.set_verify_interval_ms(changed.verify_interval_ms);
  intervals.set_snapshot_interval_ms(changed.snapshot_interval_ms);
  std::string others;
  for (const std::string& name : ChangedOptions(options, changed)) {
    if (name != "snapshot-interval" && name != "verify-interval") others += (others.empty() ? "" : ", ") + name;
  }
  if (!others.empty()) warn(options.config + ": a change that takes a restart: " + others);
  const absl::Status status = control.Set(intervals);
  return status.ok() ? Status::OK : Status(StatusCode::INVALID_ARGUMENT, std::string(status.message()));
}

}  // namespace

int Serve(Daemon& daemon, const Options& options, const Parse& parse_again) {
  const Warn warn = [&](const std::string& text) { daemon.Log(LogSeverity::kWarning, text); };
  if (!options.log_fifo.empty()) daemon.SetLogFifo(options.log_fifo);
  std::vector<OpenNetns> netns;
  CollectorHealth health(daemon);
  Sources sources;
  absl::Status opened;
  if (options.one_process) {
    opened = CollectHere(options, warn, &sources);
  } else {
    for (const std::string& name : options.netns) {
      auto found = FindNetns(name);
      if (found.ok()) netns.push_back(*std::move(found));
      opened.Update(found.status());
    }
    if (opened.ok()) opened = CollectElsewhere(options, netns, health, &sources);
  }
  if (!opened.ok()) {
    daemon.Log(LogSeverity::kError, std::string(opened.message()));
    return 1;
  }
  NetMonitor& network = *sources.network;
  NetEventsService net_events(&network);
  SystemStatusService system_status(sources.status.get());
  SnapshotService snapshot_service;
  std::optional<MonitorSnapshots> snapshots;
  const auto set_snapshot_interval = [&](milliseconds interval) {
    if (snapshots) snapshots->SetStatusInterval(interval);
  };
  MonitorControlService control(&network, sources.collector.get(),
                                {.settings = {.verify_interval = milliseconds(options.verify_interval_ms)},
                                 .snapshot_interval = milliseconds(options.snapshot_interval_ms),
                                 .set_snapshot_interval = set_snapshot_interval});

  // Everybody on the machine may ask, unless the address says otherwise.
  for (const std::string& address : options.addresses) daemon.Listen(address, "mode=0666");
  daemon.Register(&system_status).Register(&net_events).Register(sources.kernel_events.get()).Register(&control);
  if (options.snapshots) daemon.Register(&snapshot_service);
  daemon.builder().SetAuthorizationPolicy(Policy(options));
  daemon.OnStart([&](Server& server) {
    if (sources.collector != nullptr) health.Serve(server.GetHealthCheckService());
    if (options.snapshots) {
      snapshots.emplace(&network, sources.status.get(), &snapshot_service,
                        MonitorSnapshots::Options{.base = options.snapshot_base,
                                                  .status_interval = milliseconds(options.snapshot_interval_ms)},
                        warn);
    }
    if (!options.only_standard_io && !network.warning().empty()) warn(network.warning());
    return Status::OK;
  });
  if (!options.config.empty()) {
    daemon.OnReload([&] {
      const auto parsed = parse_again();
      if (const Exit* wrong = std::get_if<Exit>(&parsed)) return Status(StatusCode::INVALID_ARGUMENT, wrong->text);
      return Apply(options, std::get<Options>(parsed), control, warn);
    });
  }
  daemon.OnStop([&] {
    health.Serve(nullptr);
    snapshots.reset();
    network.Shutdown();
    system_status.Close();
    sources.close_kernel_events();
  });
  // Monitors may be many, as long as their addresses differ.
  return daemon.SetDrain(kDrain).SetOneInstance(false).Run();
}

}  // namespace ipcrpc::monitor
