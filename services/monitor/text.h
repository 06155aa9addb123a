#pragma once

#include <string>
#include <string_view>

namespace ipcrpc::monitor {

// Names of interfaces, mounts and hosts are bytes; protobuf strings are UTF-8, and a message with another
// string could not be read. Bytes that are no part of valid UTF-8 become "\xHH".
std::string ValidUtf8(std::string_view bytes);

}  // namespace ipcrpc::monitor
