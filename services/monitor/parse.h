#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <linux/netlink.h>

#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/net_objects.pb.h"
#include "services/monitor/attributes.h"
#include "services/monitor/names.h"

// From one rtnetlink message to one object. Pure: the same bytes give the same object, nothing is asked
// of the system. What depends on other objects (the name behind an interface index, whether the link
// below is up) is filled in later: resolve.h.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// An object as parsed, with what the store needs beside it.
struct NetItem {
  // What the kernel tells objects apart by; ordered as lists are: kind, family, then the rest. See key.h.
  std::string key;
  // The first part of a route's key, which several routes may share; empty for others.
  std::string base_key;
  v1::NetObject object;
  // Links: hardware type (ARPHRD_…) and IFF_ flags.
  uint16_t hardware_type = 0;
  uint32_t link_flags = 0;
};

struct ParsedMessage {
  NetItem item;
  // RTM_DEL…: the object is gone.
  bool removed = false;
  // nlmsg_flags, for NLM_F_REPLACE and NLM_F_APPEND of routes.
  uint16_t flags = 0;
};

// Absent when the message is valid but is none of ours: another family or type, a bridge's or wireless
// card's partial message about a link, a cached route.
// InvalidArgument: the message is too short for its header, or an attribute runs over its end.
absl::StatusOr<std::optional<ParsedMessage>> ParseNetMessage(const nlmsghdr* message, const NameTables& names);

// The same per type; `message` is of that type and complete (nlmsg_len bytes are there).
absl::StatusOr<std::optional<NetItem>> ParseLink(const nlmsghdr* message, const NameTables& names);
absl::StatusOr<std::optional<NetItem>> ParseAddress(const nlmsghdr* message, const NameTables& names);
absl::StatusOr<std::optional<NetItem>> ParseRoute(const nlmsghdr* message, const NameTables& names);
absl::StatusOr<std::optional<NetItem>> ParseNeighbor(const nlmsghdr* message, const NameTables& names);
absl::StatusOr<std::optional<NetItem>> ParseRule(const nlmsghdr* message, const NameTables& names);

// Fills Link.linkinfo from a nest of IFLA_INFO_ attributes.
void ParseLinkInfo(const Attributes& info, v1::LinkInfo* out);

// The error of the functions above.
absl::Status Malformed(const nlmsghdr* message, const char* what);

// Copies the fixed header out of a message; absent when the message is too short.
template <typename Header>
std::optional<Header> FixedHeader(const nlmsghdr* message) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(Header)) return std::nullopt;
  Header header;
  __builtin_memcpy(&header, mnl_nlmsg_get_payload(message), sizeof header);
  return header;
}

}  // namespace ipcrpc::monitor
