#include "services/monitord/collector.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "ipcrpc/child.h"
#include "ipcrpc/ipcrpc.h"
#include "services/monitor/collector_control_service.h"
#include "services/monitor/kernel_events_service.h"
#include "services/monitor/net_events_service.h"
#include "services/monitord/confine.h"

namespace ipcrpc::monitor {

std::vector<std::string> CollectorArguments(const Options& options, const std::vector<OpenNetns>& netns) {
  std::vector<std::string> arguments = {"/proc/self/exe", "--collector", absl::StrCat("--netlink-buffer=", options.netlink_buffer),
                                        absl::StrCat("--verify-interval=", options.verify_interval_ms, "ms")};
  for (const OpenNetns& open : netns) {
    arguments.push_back(absl::StrCat("--netns=", open.netns.name()));
    // Its name may be gone when a collector is started anew.
    arguments.push_back(absl::StrCat("--netns-path=/proc/", getpid(), "/fd/", open.fd.get()));
  }
  if (options.process_events) arguments.push_back("--process-events");
  return arguments;
}

int Collect(const Options& options) {
  const auto fail = [](const std::string& why) {
    fprintf(stderr, "ipcrpc-monitord's collector: %s\n", why.c_str());
    return 1;
  };
  const std::string address = ChildAddress();
  if (address.empty()) return fail("ipcrpc-monitord starts it by itself");
  prctl(PR_SET_NAME, "ipcrpc-collector");
  NetMonitor::Options net_options;
  for (size_t i = 0; i < options.netns.size(); ++i) {
    net_options.netns.emplace_back(options.netns[i], i < options.netns_paths.size() ? options.netns_paths[i] : "");
  }
  net_options.collector.receive_buffer_bytes = options.netlink_buffer;
  net_options.collector.verify_interval = std::chrono::milliseconds(options.verify_interval_ms);
  net_options.opened = [&] { return Confine(options.process_events); };
  std::atomic<CollectorControlService*> said_by = nullptr;
  const auto monitor = NetMonitor::Start(net_options, [&](const absl::Status& problem) {
    if (CollectorControlService* const by = said_by; by != nullptr) by->Say(std::string(problem.message()));
  });
  if (!monitor.ok()) return fail(std::string(monitor.status().message()));
  CollectorControlService control(monitor->get());
  NetEventsService net_events(monitor->get());
  KernelEventsService kernel_events(options.process_events);
  said_by = &control;

  ServerBuilder builder;
  builder.AddListeningPort(address, InsecureServerCredentials());
  builder.RegisterService(&control).RegisterService(&net_events).RegisterService(&kernel_events);
  const std::unique_ptr<Server> server = builder.BuildAndStart();
  if (server == nullptr) return fail("cannot serve at " + address + ": " + builder.error());
  server->Wait();
  // The daemon is gone, or wants no more of it: nothing here outlives the process.
  _exit(0);
}

}  // namespace ipcrpc::monitor
