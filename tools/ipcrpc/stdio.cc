// ipcrpc stdio [ADDR]: a server's front door at the far end of a pipe, as in exec:ssh HOST ipcrpc stdio monitor.
#include "ipcrpc/admin.h"
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/output.h"
#include "tools/ipcrpc/target.h"

namespace ipcrpc::cli {

absl::Status Stdio(const ServerOptions& options) {
  const absl::StatusOr<std::string> address = OnlyAddress(options);
  if (!address.ok()) return address.status();
  const std::string error = admin::RelayStandardIo(*address);
  return error.empty() ? absl::OkStatus() : absl::UnavailableError(error);
}

}  // namespace ipcrpc::cli
