#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "ipcrpc/monitor/v1/kernel_events.pb.h"

// From the kernel's datagrams about devices and processes to messages. Pure; whatever the bytes, nothing outside of
// them is read. Times of the wall clock are the caller's to set.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// NETLINK_KOBJECT_UEVENT: "ACTION@DEVPATH" and "KEY=VALUE", each ended by a NUL. Absent: it is something else.
std::optional<v1::Uevent> ParseUevent(std::span<const uint8_t> datagram);

// NETLINK_CONNECTOR: a netlink header, a connector's, one event. Absent: none of ours, such as an acknowledgement.
std::optional<v1::ProcessEvent> ParseProcessEvent(std::span<const uint8_t> datagram);

// The kernel's answer to who begins to listen: 0, or an errno. Absent: it is something else.
std::optional<uint32_t> ParseProcessAnswer(std::span<const uint8_t> datagram);

}  // namespace ipcrpc::monitor
