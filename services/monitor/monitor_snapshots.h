// The monitor's state in shared memory, for readers that make no call.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "ipcrpc/monitor/v1/net_events.pb.h"
#include "ipcrpc/monitor/v1/system_status.pb.h"
#include "ipcrpc/snapshot.h"
#include "ipcrpc/snapshot_service.h"
#include "services/monitor/net_monitor.h"
#include "services/monitor/status_source.h"

namespace ipcrpc::monitor {

// Publishes two snapshots, readable by everybody: BASE.net, the ListReply of everything, at every change
// (when changes come fast, at most twenty times a second and a fifth of the time); and BASE.system, the
// StatusReply of everything, every interval. They are what the collector knows: publishing never asks the
// kernel for a list, so that of neighbours they have what it announces, and no more.
//
// Readers find them in the runtime directory, or are handed sealed memory by `service` ("net", "system").
//
// Both have been published once when the constructor returns, and are gone when the destructor does. What
// cannot be published is told to `report`, once as long as the reason stays, on any thread; it is tried again
// at the next occasion.
class MonitorSnapshots {
 public:
  struct Options {
    // A name ("monitor": the files monitor.net.snap and monitor.system.snap in the runtime directory), or a
    // path before the same endings.
    std::string base;
    std::chrono::nanoseconds status_interval = std::chrono::seconds(1);
  };
  using Report = std::function<void(const std::string&)>;

  // The monitor, the source and the service must outlive this.
  MonitorSnapshots(NetMonitor* monitor, const StatusSource* source, SnapshotService* service, const Options& options, Report report);
  ~MonitorSnapshots();

  // Holds within a second, counted from when BASE.system was published last. Any thread.
  void SetStatusInterval(std::chrono::nanoseconds interval) { status_interval_ = interval; }

 private:
  // One snapshot that may fail, and has said so already.
  template <typename Message>
  struct Snapshot {
    Snapshot(const std::string& place, const std::string& name) : file(place + "?mode=0644"), memory(name + "?home=memfd") {}
    void Publish(const Message& message, const Report& report);
    void Beat() {
      file.Beat();
      memory.Beat();
    }

    SnapshotPublisher<Message> file;    // for those who make no contact
    SnapshotPublisher<Message> memory;  // for those who ask
    std::string reported;
  };

  // The position that it shows.
  NetStore::Position PublishNet();
  void PublishSystem();
  void KeepNet(std::stop_token stop, NetStore::Position published);
  void KeepSystem(std::stop_token stop);
  void PauseUntil(std::stop_token stop, std::chrono::steady_clock::time_point when);

  NetMonitor* const monitor_;
  const StatusSource* const source_;
  std::atomic<std::chrono::nanoseconds> status_interval_;
  SnapshotService* const service_;
  const Report report_;
  Snapshot<v1::ListReply> net_;
  Snapshot<v1::StatusReply> system_;
  v1::StatusReply read_last_;  // by one thread at a time

  std::mutex pause_mu_;
  std::condition_variable_any pause_;  // nobody notifies; a request to stop wakes
  // Two, as a file system that does not answer may hold up the second.
  std::jthread net_thread_;
  std::jthread system_thread_;
};

}  // namespace ipcrpc::monitor
