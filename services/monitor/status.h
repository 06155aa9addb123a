// Operating errors of the monitor as statuses of calls.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ipcrpc/status.h"

namespace ipcrpc::monitor {

// Same code (the numbers are the same), same message.
inline Status ToStatus(const absl::Status& status) {
  return Status(static_cast<StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace ipcrpc::monitor
