// Kernel features that are probed at run time, and the switch that turns each off.
#pragma once

#include <string_view>

namespace ipcrpc {

// False when IPCRPC_DISABLE, a comma-separated list read once, has `feature`: "futex_waitv", "pidfd_open",
// "memfd_create", "so_peerpidfd", and of the layer above "references" (messages that lie in shared memory). For tests, and for working round a broken kernel.
bool FeatureAllowed(std::string_view feature);

}  // namespace ipcrpc
