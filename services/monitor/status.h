// Operating errors of the monitor as statuses of calls.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ipcrpc/status.h"
#include "services/monitor/status_details.h"

namespace ipcrpc::monitor {

// Same code (the numbers are the same), same message, same details.
inline Status ToStatus(const absl::Status& status) {
  return Status(static_cast<StatusCode>(status.code()), std::string(status.message()), DetailsOf(status));
}

// The other way; details are left out.
inline absl::Status FromStatus(const Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace ipcrpc::monitor
