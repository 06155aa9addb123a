// What the service manager is told of us: sd_notify(3). Where there is none ($NOTIFY_SOCKET is not set)
// nothing happens. Any thread.
#pragma once

#include <string_view>

namespace ipcrpc::hosting {

bool HasManager();
// The one line that `systemctl status` shows.
void NotifyStatus(std::string_view status);
// It serves, for the first time or again after a reload. This is the process that counts, also where it is a
// successor.
void NotifyReady(std::string_view status);
void NotifyReloading();
void NotifyStopping(std::string_view status);
// It lives: to be said within the manager's WATCHDOG_USEC.
void NotifyAlive();

}  // namespace ipcrpc::hosting
