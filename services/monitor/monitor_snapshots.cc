#include "services/monitor/monitor_snapshots.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "services/monitor/rates.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kNetInterval{50};
// How often readers hear that we live.
constexpr std::chrono::seconds kBeat{1};
// What is handed out is called so.
constexpr char kNet[] = "net";
constexpr char kSystem[] = "system";

// A name gets its ending from the library, a path is taken as it stands.
std::string Place(const std::string& base, const char* part) {
  return base + part + (base.find('/') == std::string::npos ? "" : ".snap");
}

}  // namespace

template <typename Message>
void MonitorSnapshots::Snapshot<Message>::Publish(const Message& message, const Report& report) {
  Status status = file.Publish(message);
  if (Status handed_out = memory.Publish(message); status.ok()) status = std::move(handed_out);
  const std::string problem = status.ok() ? "" : status.error_message();
  if (!problem.empty() && problem != reported) report("no snapshot: " + problem);
  reported = problem;
}

MonitorSnapshots::MonitorSnapshots(NetMonitor* monitor, const StatusSource* source, SnapshotService* service, const Options& options,
                                   Report report)
    : monitor_(monitor),
      source_(source),
      status_interval_(options.status_interval),
      service_(service),
      report_(std::move(report)),
      net_(Place(options.base, ".net"), kNet),
      system_(Place(options.base, ".system"), kSystem) {
  const NetStore::Position published = PublishNet();
  PublishSystem();
  service_->Add(net_.memory.raw());
  service_->Add(system_.memory.raw());
  net_thread_ =
      std::jthread([this, published](std::stop_token stop) { KeepNet(std::move(stop), published); });
  system_thread_ = std::jthread([this](std::stop_token stop) { KeepSystem(std::move(stop)); });
}

MonitorSnapshots::~MonitorSnapshots() {
  service_->Remove(kNet);
  service_->Remove(kSystem);
}

NetStore::Position MonitorSnapshots::PublishNet() {
  // What comes between is published twice.
  const NetStore::Position position = monitor_->store().position();
  net_.Publish(monitor_->Known(), report_);
  return position;
}

void MonitorSnapshots::PublishSystem() {
  const absl::StatusOr<v1::StatusReading> reading = source_->Read({});
  if (reading.ok()) {
    read_last_ = StatusOf(*reading, nullptr, 0);
  } else {
    read_last_.set_stale(true);
  }
  system_.Publish(read_last_, report_);
}

void MonitorSnapshots::KeepNet(std::stop_token stop, NetStore::Position published) {
  pthread_setname_np(pthread_self(), "snapshot-net");
  while (!stop.stop_requested()) {
    if (!monitor_->store().AwaitChange(published, stop, steady_clock::now() + kBeat)) {
      net_.Beat();
      continue;
    }
    const auto begin = steady_clock::now();
    published = PublishNet();
    const auto end = steady_clock::now();
    // Large states may take a fifth of the time at most.
    PauseUntil(stop, end + std::max<steady_clock::duration>(kNetInterval, 4 * (end - begin)));
  }
}

void MonitorSnapshots::KeepSystem(std::stop_token stop) {
  pthread_setname_np(pthread_self(), "snapshot-system");
  auto last = steady_clock::now();  // when it was due
  while (!stop.stop_requested()) {
    const std::chrono::nanoseconds interval = status_interval_;
    const auto now = steady_clock::now();
    if (now >= last + interval) {
      PublishSystem();
      // By the clock, not by the time that reading took; what was missed is left out.
      last = std::max(last + interval, steady_clock::now() - interval);
    } else {
      system_.Beat();
    }
    PauseUntil(stop, std::min<steady_clock::time_point>(last + interval, now + kBeat));
  }
}

void MonitorSnapshots::PauseUntil(std::stop_token stop, steady_clock::time_point when) {
  std::unique_lock lock(pause_mu_);
  pause_.wait_until(lock, std::move(stop), when, [] { return false; });
}

}  // namespace ipcrpc::monitor
