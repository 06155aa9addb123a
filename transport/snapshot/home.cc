#include "transport/snapshot/home.h"

#include <algorithm>
#include <utility>

#include "transport/address_parameters.h"
#include "transport/base/status_macros.h"
#include "transport/snapshot/finder.h"
#include "transport/snapshot/memfd_home.h"
#include "transport/snapshot/memory.h"
#include "transport/snapshot/named_home.h"

namespace ipcrpc::snapshot {

absl::StatusOr<std::unique_ptr<Home>> Home::Take(const std::string& place) {
  ASSIGN_OR_RETURN(const Address address, ParsePlace(place));
  RETURN_IF_ERROR(CheckParameters(address, {"home", "mode", "group"}));
  const std::string* const name = FindParameter(address, "home");
  if (name != nullptr && *name == "memfd") {
    // Who may have it is for whoever hands it out to say.
    RETURN_IF_ERROR(CheckParameters(address, {"home"}));
    return MakeMemfdHome();
  }
  const auto kinds = MemoryKinds();
  const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const MemoryKind* k) { return name == nullptr || k->name == *name; });
  if (kind == kinds.end()) return BadParameter(address, "home", "file, posix, sysv or memfd");
  ASSIGN_OR_RETURN(std::unique_ptr<Home> home, NamedHome::Take(address, **kind));
  return home;
}

}  // namespace ipcrpc::snapshot
