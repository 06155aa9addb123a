// What a daemon does to the addresses that it is told.
#pragma once

#include <string>
#include <string_view>

namespace ipcrpc::hosting {

// With the parameter ("mode=0666") where the address may have it and does not.
std::string WithDefault(const std::string& address, std::string_view parameter);

// "shm:monitor?mode=0600" is at "shm:monitor".
std::string_view PlaceIn(std::string_view address);

}  // namespace ipcrpc::hosting
