#include "services/daemon/notify.h"

#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace ipcrpc::hosting {
namespace {

void Notify(const std::string& state) { sd_notify(0, state.c_str()); }

// A line end would begin another assignment.
std::string StatusLine(std::string_view status) {
  std::string line = "STATUS=" + std::string(status);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

}  // namespace

bool HasManager() { return getenv("NOTIFY_SOCKET") != nullptr; }

void NotifyStatus(std::string_view status) { Notify(StatusLine(status)); }

void NotifyReady(std::string_view status) {
  Notify("READY=1\nMAINPID=" + std::to_string(getpid()) + "\n" + StatusLine(status));
}

void NotifyReloading() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t usec = int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  Notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(usec) + "\n" + StatusLine("reloading"));
}

void NotifyStopping(std::string_view status) { Notify("STOPPING=1\n" + StatusLine(status)); }

void NotifyAlive() { Notify("WATCHDOG=1"); }

}  // namespace ipcrpc::hosting
