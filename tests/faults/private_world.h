// Namespaces of our own for what System V, POSIX queues and shared memory keep machine-wide, so that a test can say
// that nothing was left behind, whoever else uses the machine.
#pragma once

#include <string>
#include <vector>

namespace faults {

// From here on this process and its children have private IPC and mount namespaces (and a user namespace, when not
// root), an empty /dev/shm, an empty queue file system and a runtime directory of their own, which
// IPCRPC_RUNTIME_DIR names. Once per process, before any thread. An error's text, or "".
std::string EnterPrivateWorld();

// Everything that is there now: "/dev/shm/x", "queue /x", "System V queue 3", "/…/name.lock".
std::vector<std::string> LeftOvers();

}  // namespace faults
