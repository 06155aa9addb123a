#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "ipcrpc/monitor/v1/net_objects.pb.h"

// The part of an object that follows from other objects: the names behind interface indices, M-DOWN, a
// rule's detached and unresolved marks. Filled after parsing, and again whenever a link comes, goes, is
// renamed, or goes up or down.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// What objects need to know of a link.
struct LinkFacts {
  std::string name;
  bool up = false;
  uint16_t hardware_type = 0;
};

using LinkTable = std::map<uint32_t, LinkFacts>;

// Fills names in any kind of object from indices. An index without a link becomes "ifN", as iproute2 says.
// A rule's `unresolved` is left as it is.
void Resolve(const LinkTable& links, v1::NetObject* object);

// Calls `visit` with every interface index in the object, other than a link's own.
void ForEachIndex(const v1::NetObject& object, const std::function<void(uint32_t)>& visit);

}  // namespace ipcrpc::monitor
