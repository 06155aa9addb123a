#pragma once

#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/net_events.pb.h"
#include "services/monitor/netlink_socket.h"

// Other network namespaces than that of the process.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// A network namespace that was asked for: held for as long as this is, also if its name goes.
struct OpenNetns {
  OwnedFd fd;
  v1::NetNs netns;
};

// A name, and where that is if its name does not say it.
struct NetnsPlace {
  NetnsPlace(std::string of, std::string at = "") : name(std::move(of)), path(std::move(at)) {}  // a name is one
  std::string name, path;
};

// `name`: one that `ip netns` knows (/run/netns/NAME), or a path with a slash (/proc/PID/ns/net).
// NOT_FOUND, PERMISSION_DENIED: it cannot be opened; INVALID_ARGUMENT: it is no network namespace.
absl::StatusOr<OpenNetns> FindNetns(const NetnsPlace& place);

// Runs it in that namespace, on a thread of its own that ends with it. Sockets opened there stay there.
absl::Status InNetns(const OpenNetns& netns, const std::function<absl::Status()>& run);

}  // namespace ipcrpc::monitor
