#include "services/monitor/net_requests.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "services/monitor/net_table.h"

namespace ipcrpc::monitor {
namespace {

template <typename Header>
nlmsghdr* BeginRequest(Request* request, uint16_t type, const Header& header) {
  nlmsghdr* message = mnl_nlmsg_put_header(request->bytes);
  message->nlmsg_type = type;
  __builtin_memcpy(mnl_nlmsg_put_extra_header(message, sizeof header), &header, sizeof header);
  return message;
}

}  // namespace

const std::vector<Scope>& AllScopes() {
  static const auto* const scopes = new std::vector<Scope>{
      {v1::NetObject::LINK, AF_UNSPEC},    {v1::NetObject::ADDRESS, AF_INET}, {v1::NetObject::ADDRESS, AF_INET6},
      {v1::NetObject::ROUTE, AF_INET},     {v1::NetObject::ROUTE, AF_INET6},  {v1::NetObject::NEIGHBOR, AF_INET},
      {v1::NetObject::NEIGHBOR, AF_INET6}, {v1::NetObject::RULE, AF_INET},    {v1::NetObject::RULE, AF_INET6},
  };
  return *scopes;
}

std::string PrefixOf(const Scope& scope) {
  return scope.kind == v1::NetObject::LINK ? KindPrefix(scope.kind) : FamilyPrefix(scope.kind, scope.family);
}

const std::vector<int>& NotificationGroups() {
  static const auto* const groups = new std::vector<int>{
      RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
      RTNLGRP_NEIGH,      RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
      // Replaced next-hop objects change routes; a root queueing discipline is part of a link.
      RTNLGRP_NEXTHOP,    RTNLGRP_TC};
  return *groups;
}

nlmsghdr* LinkRequest(Request* request, int index) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = index;
  nlmsghdr* message = BeginRequest(request, RTM_GETLINK, header);
  mnl_attr_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return message;
}

nlmsghdr* NetnsIdRequest(Request* request, int netns_fd) {
  rtgenmsg header{};
  header.rtgen_family = AF_UNSPEC;
  nlmsghdr* message = BeginRequest(request, RTM_GETNSID, header);
  mnl_attr_put_u32(message, NETNSA_FD, static_cast<uint32_t>(netns_fd));
  return message;
}

nlmsghdr* LinkStatsRequest(Request* request) {
  if_stats_msg header{};
  header.family = AF_UNSPEC;
  header.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64);
  return BeginRequest(request, RTM_GETSTATS, header);
}

nlmsghdr* DumpRequest(Request* request, const Scope& scope) {
  const auto family = static_cast<uint8_t>(scope.family);
  switch (scope.kind) {
    case v1::NetObject::ADDRESS: {
      ifaddrmsg header{};
      header.ifa_family = family;
      return BeginRequest(request, RTM_GETADDR, header);
    }
    case v1::NetObject::ROUTE: {
      rtmsg header{};
      header.rtm_family = family;
      return BeginRequest(request, RTM_GETROUTE, header);
    }
    case v1::NetObject::NEIGHBOR: {
      ndmsg header{};
      header.ndm_family = family;
      return BeginRequest(request, RTM_GETNEIGH, header);
    }
    case v1::NetObject::RULE: {
      fib_rule_hdr header{};
      header.family = family;
      return BeginRequest(request, RTM_GETRULE, header);
    }
    default: return LinkRequest(request, 0);
  }
}

}  // namespace ipcrpc::monitor
