#include "services/monitor/parse.h"

#include <linux/rtnetlink.h>

#include "absl/strings/str_cat.h"

namespace ipcrpc::monitor {
namespace {

using Parser = absl::StatusOr<std::optional<NetItem>> (*)(const nlmsghdr*, const NameTables&);

struct MessageType {
  uint16_t type;
  bool removed;
  Parser parser;
};

constexpr MessageType kMessageTypes[] = {
    {RTM_NEWLINK, false, &ParseLink},      {RTM_DELLINK, true, &ParseLink},
    {RTM_NEWADDR, false, &ParseAddress},   {RTM_DELADDR, true, &ParseAddress},
    {RTM_NEWROUTE, false, &ParseRoute},    {RTM_DELROUTE, true, &ParseRoute},
    {RTM_NEWNEIGH, false, &ParseNeighbor}, {RTM_DELNEIGH, true, &ParseNeighbor},
    {RTM_NEWRULE, false, &ParseRule},      {RTM_DELRULE, true, &ParseRule},
};

}  // namespace

absl::StatusOr<std::optional<ParsedMessage>> ParseNetMessage(const nlmsghdr* message, const NameTables& names) {
  for (const MessageType& type : kMessageTypes) {
    if (type.type != message->nlmsg_type) continue;
    auto item = type.parser(message, names);
    if (!item.ok()) return item.status();
    if (!item->has_value()) return std::optional<ParsedMessage>();
    return ParsedMessage{std::move(**item), type.removed, message->nlmsg_flags};
  }
  return std::optional<ParsedMessage>();
}

absl::Status Malformed(const nlmsghdr* message, const char* what) {
  return absl::InvalidArgumentError(
      absl::StrCat("rtnetlink message of type ", message->nlmsg_type, ", ", message->nlmsg_len, " bytes: ", what));
}

}  // namespace ipcrpc::monitor
