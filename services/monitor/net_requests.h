#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <linux/netlink.h>

#include "ipcrpc/monitor/v1/net_objects.pb.h"

// What a collector asks the kernel: the groups it joins and the requests it sends. Pure.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// What one dump lists.
struct Scope {
  v1::NetObject::Kind kind;
  int family;
};

// Everything, in the order to list it in: links first, as the others name them.
const std::vector<Scope>& AllScopes();

// The prefix of the keys of what it lists.
std::string PrefixOf(const Scope& scope);

// The multicast groups of rtnetlink that tell of it.
const std::vector<int>& NotificationGroups();

// Room for a request: header, fixed header, one or two attributes.
struct Request {
  alignas(NLMSG_ALIGNTO) char bytes[256];
};

// In `request`, without its NLM_F_ flags.
nlmsghdr* DumpRequest(Request* request, const Scope& scope);
// Of one link; 0 = of all.
nlmsghdr* LinkRequest(Request* request, int index);
// The counters of all links.
nlmsghdr* LinkStatsRequest(Request* request);
// The number that the socket's namespace has for the one behind a descriptor.
nlmsghdr* NetnsIdRequest(Request* request, int netns_fd);

}  // namespace ipcrpc::monitor
