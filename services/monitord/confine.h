#pragma once

#include "absl/status/status.h"

namespace ipcrpc::monitor {

// Takes from this process, for good, what a collector does not need once its sockets are open:
//
// - all capabilities, but CAP_NET_ADMIN where `process_events` are wanted, which the kernel tells nobody else;
// - new rights by running programs (PR_SET_NO_NEW_PRIVS);
// - all system calls but those on a list (seccomp): no programs, no processes, no files but for reading, no sockets but
//   Netlink's, no signals to others, no namespaces, no code that was not there. What is not on it fails with EPERM.
//
// It has to have one thread, as capabilities are each thread's own; those to come inherit all of it.
absl::Status Confine(bool process_events);

}  // namespace ipcrpc::monitor
