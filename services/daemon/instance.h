// One daemon of a name at a time: whoever is it listens at the unix address of that name. So the name's lock,
// which the kernel drops when its holder dies, and which a successor takes over with the other addresses, is
// the instance's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ipcrpc::hosting {

// "unix:NAME"; "" when one of the addresses has that lock anyway.
std::string InstanceAddress(std::string_view name, const std::vector<std::string>& addresses);

}  // namespace ipcrpc::hosting
