#pragma once

#include <map>
#include <string>

#include <linux/netlink.h>

#include "absl/status/status.h"
#include "ipcrpc/monitor/v1/net_events.pb.h"
#include "services/monitor/netlink_socket.h"

// Counters of interfaces.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// Of one RTM_NEWSTATS message; false when it is something else, or broken. Pure.
bool ParseLinkStats(const nlmsghdr* message, v1::LinkStatistics* out);

// Reads those of the interfaces that `names` has, by index, in the namespace of `query`.
absl::Status ReadLinkStats(NetlinkQuery* query, const std::map<uint32_t, std::string>& names,
                           google::protobuf::RepeatedPtrField<v1::LinkStatistics>* out);

}  // namespace ipcrpc::monitor
