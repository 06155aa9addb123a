#include "services/daemon/addresses.h"

#include <algorithm>

#include "ipcrpc/admin.h"

namespace ipcrpc::hosting {
namespace {

bool SchemeKnows(std::string_view scheme, std::string_view key) {
  for (const admin::Transport& transport : admin::Transports()) {
    if (transport.name != scheme) continue;
    return std::find(transport.parameters.begin(), transport.parameters.end(), key) !=
           transport.parameters.end();
  }
  return false;
}

}  // namespace

std::string_view PlaceIn(std::string_view address) { return address.substr(0, address.find('?')); }

std::string WithDefault(const std::string& address, std::string_view parameter) {
  const std::string_view place = PlaceIn(address);
  const size_t colon = std::min(place.find(':'), place.size());
  const std::string_view key = parameter.substr(0, parameter.find('='));
  // An abstract name has no file, and so no permissions.
  const bool abstract = place.substr(colon).starts_with(":@");
  const std::string given = address.substr(place.size());  // "?spin=0&mode=0600"
  const std::string wanted = std::string(key) + "=";
  const bool has_it =
      given.find("?" + wanted) != std::string::npos || given.find("&" + wanted) != std::string::npos;
  if (abstract || has_it || !SchemeKnows(place.substr(0, colon), key)) return address;
  return address + (given.empty() ? "?" : "&") + std::string(parameter);
}

}  // namespace ipcrpc::hosting
