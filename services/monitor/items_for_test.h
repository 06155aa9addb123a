#pragma once

#include <linux/if.h>
#include <sys/socket.h>

#include <string>

#include "services/monitor/key.h"
#include "services/monitor/parse.h"

// Objects as a parser would make them, for tests of what comes after parsing.

namespace ipcrpc::monitor {

inline NetItem LinkItem(uint32_t index, const std::string& name, uint32_t flags = 0, uint32_t below = 0) {
  NetItem item;
  item.key = KeyBuilder(v1::NetObject::LINK, 0).U32(index).str();
  item.link_flags = flags;
  v1::Link* link = item.object.mutable_link();
  link->set_ifindex(index);
  link->set_ifname(name);
  if (flags & IFF_UP) link->add_flags("UP");
  if (below != 0) link->set_link_index(below);
  return item;
}

// A route with one way.
inline NetItem RouteItem(int family, const std::string& dst, uint32_t oif, const std::string& gateway = "") {
  NetItem item;
  item.base_key = KeyBuilder(v1::NetObject::ROUTE, family).U32(254).Text(dst).str();
  item.key = item.base_key + KeyBuilder(0, 0).U32(oif).Text(gateway).str();
  v1::Route* route = item.object.mutable_route();
  route->set_family(family == AF_INET ? "inet" : "inet6");
  route->set_dst(dst);
  route->set_oif(oif);
  route->set_gateway(gateway);
  return item;
}

inline NetItem AddressItem(uint32_t index, const std::string& local) {
  NetItem item;
  item.key = KeyBuilder(v1::NetObject::ADDRESS, AF_INET).U32(index).Text(local).str();
  v1::Address* address = item.object.mutable_address();
  address->set_ifindex(index);
  address->set_family("inet");
  address->set_local(local);
  return item;
}

inline NetItem RuleItem(uint32_t priority, const std::string& iif = "", uint32_t go_to = 0) {
  NetItem item;
  item.key = KeyBuilder(v1::NetObject::RULE, AF_INET).U32(priority).Text(iif).U32(go_to).str();
  v1::Rule* rule = item.object.mutable_rule();
  rule->set_family("inet");
  rule->set_priority(priority);
  rule->set_iif(iif);
  if (go_to != 0) rule->set_goto_(go_to);
  return item;
}

inline ParsedMessage Added(NetItem item, uint16_t flags = 0) { return {std::move(item), false, flags}; }
inline ParsedMessage Removed(NetItem item) { return {std::move(item), true, 0}; }

}  // namespace ipcrpc::monitor
