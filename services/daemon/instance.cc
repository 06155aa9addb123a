#include "services/daemon/instance.h"

#include <algorithm>

#include "services/daemon/addresses.h"

namespace ipcrpc::hosting {

std::string InstanceAddress(std::string_view name, const std::vector<std::string>& addresses) {
  const auto has_its_lock = [name](std::string_view address) {
    const std::string_view place = PlaceIn(address);
    for (const std::string_view scheme : {"unix:", "shm:"}) {
      if (place.starts_with(scheme) && place.substr(scheme.size()) == name) return true;
    }
    return false;
  };
  if (std::any_of(addresses.begin(), addresses.end(), has_its_lock)) return "";
  return "unix:" + std::string(name);
}

}  // namespace ipcrpc::hosting
