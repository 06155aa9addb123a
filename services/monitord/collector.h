// The collector of ipcrpc-monitord: reads Netlink and /proc, and serves the daemon that has started it.
#pragma once

#include <string>
#include <vector>

#include "services/monitor/netns.h"
#include "services/monitord/options.h"

namespace ipcrpc::monitor {

// The arguments of a collector for these options; its namespaces are open here, and stay so.
std::vector<std::string> CollectorArguments(const Options& options, const std::vector<OpenNetns>& netns);

// The collector's life; what main() is to return.
int Collect(const Options& options);

}  // namespace ipcrpc::monitor
