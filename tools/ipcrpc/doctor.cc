// ipcrpc doctor [--clean]: what servers and clients that died left behind, and its removal.
#include <sys/types.h>

#include "absl/strings/str_format.h"
#include "ipcrpc/admin.h"
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/output.h"

namespace ipcrpc::cli {

absl::Status Doctor(const DoctorOptions& options) {
  const std::vector<admin::LeftOver> found = admin::FindLeftOvers(options.directories);
  const std::vector<admin::LeftOver> things = options.clean ? admin::CleanLeftOvers(options.directories) : found;
  absl::Status printed;
  for (const admin::LeftOver& thing : things) {
    printed.Update(PrintLine(absl::StrFormat("%s%-6s %s: %s", options.clean ? "removed " : "", thing.kind, OneLine(thing.name),
                                             OneLine(thing.why))));
  }
  if (found.empty()) printed.Update(PrintLine("nothing was left behind"));
  if (!printed.ok() || !options.clean || things.size() == found.size()) return printed;
  return absl::PermissionDeniedError(
      absl::StrFormat("%d of %d could not be removed (run as their owner, or in their namespaces)",
                      found.size() - things.size(), found.size()));
}

}  // namespace ipcrpc::cli
