// What ipcrpc-monitord serves.
#pragma once

#include <functional>
#include <variant>

#include "ipcrpc/daemon.h"
#include "services/monitord/options.h"

namespace ipcrpc::monitor {

using Parse = std::function<std::variant<Options, Exit>()>;

// Until the daemon is to stop; what main() is to return.
int Serve(Daemon& daemon, const Options& options, const Parse& parse_again);

}  // namespace ipcrpc::monitor
