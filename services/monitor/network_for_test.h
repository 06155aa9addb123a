#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "services/monitor/json_for_test.h"

// A network to look at, and what `ip` says of it. For GoogleTest tests, in a namespace of their own.

namespace ipcrpc::monitor {

// Runs `ip ARGUMENTS`, which must go well; its output.
std::string Ip(const std::string& arguments);
// The same for each line.
void IpLines(std::string_view lines);

// Links of several kinds, addresses, routes, neighbours and rules of both families.
void BuildNetwork();

// The JSON of a ListReply with everything in it against `ip -j`'s link, addr, route, neigh and rule: item by
// item, every key that `ip` prints. One text per difference.
std::vector<std::string> CompareListWithIp(const Json& list);

}  // namespace ipcrpc::monitor
