// The one place where operating errors become statuses of calls.
#pragma once

#include "absl/status/status.h"
#include "ipcrpc/status.h"

namespace ipcrpc::rpc {

// Same code (the numbers are the same), same message.
Status FromAbsl(const absl::Status& status);

}  // namespace ipcrpc::rpc
