#include <endian.h>
#include <linux/if_bridge.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <sys/socket.h>

#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/monitor/parse.h"

namespace ipcrpc::monitor {
namespace {

using Data = v1::LinkInfoData;
using Slave = v1::LinkSlaveData;

// A number of whatever width the kernel chose for it.
std::optional<uint32_t> AnyWidth(const Attributes& attrs, uint16_t type) {
  switch (attrs.Payload(type).size()) {
    case 1: return attrs.U8(type);
    case 2: return attrs.U16(type);
    case 4: return attrs.U32(type);
    default: return std::nullopt;
  }
}

template <typename Message, typename Value>
struct Field {
  uint16_t type;
  void (Message::*set)(Value);
};

template <typename Message, typename Value, size_t N>
void FillNumbers(const Attributes& attrs, const Field<Message, Value> (&fields)[N], Message* out) {
  for (const auto& field : fields) {
    if (auto value = AnyWidth(attrs, field.type)) (out->*field.set)(static_cast<Value>(*value));
  }
}

// Ethernet protocols that vlans know; iproute2 writes them so.
std::string EthernetProtocol(uint16_t protocol) {
  switch (protocol) {
    case ETH_P_8021Q: return "802.1Q";
    case ETH_P_8021AD: return "802.1ad";
    default: return absl::StrFormat("[%u]", protocol);
  }
}

// Priority and address of a bridge, as iproute2 writes them: bytes without leading zeros.
std::string BridgeId(Bytes id) {
  if (id.size() != sizeof(ifla_bridge_id)) return "";
  std::string text = absl::StrFormat("%.2x%.2x.", id[0], id[1]);
  for (size_t i = 2; i < id.size(); ++i) absl::StrAppendFormat(&text, "%s%x", i == 2 ? "" : ":", id[i]);
  return text;
}

void FillVlan(const Attributes& attrs, Data* data) {
  static constexpr std::pair<uint32_t, const char*> kFlags[] = {{VLAN_FLAG_REORDER_HDR, "REORDER_HDR"},
                                                                {VLAN_FLAG_GVRP, "GVRP"},
                                                                {VLAN_FLAG_MVRP, "MVRP"},
                                                                {VLAN_FLAG_LOOSE_BINDING, "LOOSE_BINDING"},
                                                                {VLAN_FLAG_BRIDGE_BINDING, "BRIDGE_BINDING"}};
  if (auto protocol = attrs.U16Be(IFLA_VLAN_PROTOCOL)) data->set_protocol(EthernetProtocol(*protocol));
  if (auto id = attrs.U16(IFLA_VLAN_ID)) data->set_id(*id);
  if (auto flags = attrs.Struct<ifla_vlan_flags>(IFLA_VLAN_FLAGS)) {
    uint32_t left = flags->flags;
    for (const auto& [bit, name] : kFlags) {
      if (left & bit) data->add_flags(name);
      left &= ~bit;
    }
    if (left != 0) data->add_flags(BareHex(left));
  }
}

void FillMacvlan(const Attributes& attrs, Data* data) {
  static constexpr std::pair<uint32_t, const char*> kModes[] = {{MACVLAN_MODE_PRIVATE, "private"},
                                                                {MACVLAN_MODE_VEPA, "vepa"},
                                                                {MACVLAN_MODE_BRIDGE, "bridge"},
                                                                {MACVLAN_MODE_PASSTHRU, "passthru"},
                                                                {MACVLAN_MODE_SOURCE, "source"}};
  if (auto mode = attrs.U32(IFLA_MACVLAN_MODE)) {
    data->set_mode("unknown");
    for (const auto& [value, name] : kModes) {
      if (*mode == value) data->set_mode(name);
    }
  }
}

void FillIpvlan(const Attributes& attrs, Data* data) {
  static constexpr const char* kModes[] = {"l2", "l3", "l3s"};
  if (auto mode = attrs.U16(IFLA_IPVLAN_MODE)) {
    data->set_mode(*mode < std::size(kModes) ? kModes[*mode] : "unknown");
  }
}

void FillVxlan(const Attributes& attrs, Data* data) {
  static constexpr Field<Data, uint32_t> kNumbers[] = {
      {IFLA_VXLAN_ID, &Data::set_id}, {IFLA_VXLAN_TTL, &Data::set_ttl}, {IFLA_VXLAN_AGEING, &Data::set_ageing}};
  FillNumbers(attrs, kNumbers, data);
  // A group is a multicast address; any other is one remote.
  Bytes group = attrs.Payload(IFLA_VXLAN_GROUP);
  if (group.size() == 4) {
    bool multicast = (group[0] & 0xf0) == 0xe0;
    multicast ? data->set_group(IpText(AF_INET, group)) : data->set_remote(IpText(AF_INET, group));
  }
  Bytes group6 = attrs.Payload(IFLA_VXLAN_GROUP6);
  if (group6.size() == 16) {
    bool multicast = group6[0] == 0xff;
    multicast ? data->set_group6(IpText(AF_INET6, group6)) : data->set_remote6(IpText(AF_INET6, group6));
  }
  data->set_local(IpText(AF_INET, attrs.Payload(IFLA_VXLAN_LOCAL)));
  data->set_local6(IpText(AF_INET6, attrs.Payload(IFLA_VXLAN_LOCAL6)));
  if (auto link = attrs.U32(IFLA_VXLAN_LINK); link && *link != 0) data->set_link_index(*link);
  if (auto port = attrs.U16Be(IFLA_VXLAN_PORT)) data->set_port(*port);
  if (auto learning = attrs.U8(IFLA_VXLAN_LEARNING)) data->set_learning(*learning != 0);
}

void FillVrf(const Attributes& attrs, Data* data) {
  if (auto table = attrs.U32(IFLA_VRF_TABLE)) data->set_table(*table);
}

void FillBridge(const Attributes& attrs, Data* data) {
  static constexpr Field<Data, uint32_t> kNumbers[] = {
      {IFLA_BR_FORWARD_DELAY, &Data::set_forward_delay},
      {IFLA_BR_HELLO_TIME, &Data::set_hello_time},
      {IFLA_BR_MAX_AGE, &Data::set_max_age},
      {IFLA_BR_AGEING_TIME, &Data::set_ageing_time},
      {IFLA_BR_STP_STATE, &Data::set_stp_state},
      {IFLA_BR_PRIORITY, &Data::set_priority},
      {IFLA_BR_VLAN_FILTERING, &Data::set_vlan_filtering},
      {IFLA_BR_ROOT_PORT, &Data::set_root_port},
      {IFLA_BR_ROOT_PATH_COST, &Data::set_root_path_cost},
      {IFLA_BR_TOPOLOGY_CHANGE, &Data::set_topology_change},
      {IFLA_BR_TOPOLOGY_CHANGE_DETECTED, &Data::set_topology_change_detected},
      {IFLA_BR_VLAN_DEFAULT_PVID, &Data::set_vlan_default_pvid},
      {IFLA_BR_MCAST_SNOOPING, &Data::set_mcast_snooping},
      {IFLA_BR_MCAST_ROUTER, &Data::set_mcast_router},
      {IFLA_BR_MCAST_QUERIER, &Data::set_mcast_querier}};
  FillNumbers(attrs, kNumbers, data);
  if (auto protocol = attrs.U16Be(IFLA_BR_VLAN_PROTOCOL)) data->set_vlan_protocol(EthernetProtocol(*protocol));
  data->set_bridge_id(BridgeId(attrs.Payload(IFLA_BR_BRIDGE_ID)));
  data->set_root_id(BridgeId(attrs.Payload(IFLA_BR_ROOT_ID)));
  data->set_group_addr(ColonHex(attrs.Payload(IFLA_BR_GROUP_ADDR)));
}

void FillBridgePort(const Attributes& attrs, Slave* data) {
  static constexpr const char* kStates[] = {"disabled", "listening", "learning", "forwarding", "blocking"};
  static constexpr Field<Slave, uint32_t> kNumbers[] = {{IFLA_BRPORT_PRIORITY, &Slave::set_priority},
                                                        {IFLA_BRPORT_COST, &Slave::set_cost},
                                                        {IFLA_BRPORT_DESIGNATED_PORT, &Slave::set_designated_port},
                                                        {IFLA_BRPORT_DESIGNATED_COST, &Slave::set_designated_cost},
                                                        {IFLA_BRPORT_MULTICAST_ROUTER, &Slave::set_multicast_router}};
  static constexpr Field<Slave, bool> kSwitches[] = {{IFLA_BRPORT_MODE, &Slave::set_hairpin},
                                                     {IFLA_BRPORT_GUARD, &Slave::set_guard},
                                                     {IFLA_BRPORT_PROTECT, &Slave::set_root_block},
                                                     {IFLA_BRPORT_FAST_LEAVE, &Slave::set_fastleave},
                                                     {IFLA_BRPORT_LEARNING, &Slave::set_learning},
                                                     {IFLA_BRPORT_UNICAST_FLOOD, &Slave::set_flood},
                                                     {IFLA_BRPORT_PROXYARP, &Slave::set_proxy_arp},
                                                     {IFLA_BRPORT_PROXYARP_WIFI, &Slave::set_proxy_arp_wifi},
                                                     {IFLA_BRPORT_MCAST_FLOOD, &Slave::set_mcast_flood},
                                                     {IFLA_BRPORT_BCAST_FLOOD, &Slave::set_bcast_flood},
                                                     {IFLA_BRPORT_MCAST_TO_UCAST, &Slave::set_mcast_to_unicast},
                                                     {IFLA_BRPORT_NEIGH_SUPPRESS, &Slave::set_neigh_suppress},
                                                     {IFLA_BRPORT_VLAN_TUNNEL, &Slave::set_vlan_tunnel},
                                                     {IFLA_BRPORT_ISOLATED, &Slave::set_isolated},
                                                     {IFLA_BRPORT_LOCKED, &Slave::set_locked}};
  if (auto state = attrs.U8(IFLA_BRPORT_STATE)) {
    data->set_state(*state < std::size(kStates) ? kStates[*state] : absl::StrCat("state (", *state, ")"));
  }
  FillNumbers(attrs, kNumbers, data);
  FillNumbers(attrs, kSwitches, data);
  if (auto id = attrs.U16(IFLA_BRPORT_ID)) data->set_id(Hex(*id));
  if (auto no = attrs.U16(IFLA_BRPORT_NO)) data->set_no(Hex(*no));
  data->set_bridge_id(BridgeId(attrs.Payload(IFLA_BRPORT_BRIDGE_ID)));
  data->set_root_id(BridgeId(attrs.Payload(IFLA_BRPORT_ROOT_ID)));
}

void FillVrfPort(const Attributes& attrs, Slave* data) {
  if (auto table = attrs.U32(IFLA_VRF_PORT_TABLE)) data->set_table(*table);
}

template <typename Message>
struct Kind {
  std::string_view name;
  uint16_t type_max;
  void (*fill)(const Attributes&, Message*);
};

constexpr Kind<Data> kKinds[] = {
    {"vlan", IFLA_VLAN_MAX, &FillVlan},           {"macvlan", IFLA_MACVLAN_MAX, &FillMacvlan},
    {"macvtap", IFLA_MACVLAN_MAX, &FillMacvlan},  {"ipvlan", IFLA_IPVLAN_MAX, &FillIpvlan},
    {"vxlan", IFLA_VXLAN_MAX, &FillVxlan},        {"vrf", IFLA_VRF_MAX, &FillVrf},
    {"bridge", IFLA_BR_MAX, &FillBridge},
};

constexpr Kind<Slave> kSlaveKinds[] = {
    {"bridge", IFLA_BRPORT_MAX, &FillBridgePort},
    {"vrf", IFLA_VRF_PORT_MAX, &FillVrfPort},
};

}  // namespace

void ParseLinkInfo(const Attributes& info, v1::LinkInfo* out) {
  std::string_view kind = info.String(IFLA_INFO_KIND);
  out->set_info_kind(info.Text(IFLA_INFO_KIND));
  for (const auto& known : kKinds) {
    if (kind == known.name && info.Has(IFLA_INFO_DATA)) {
      known.fill(info.Nested(IFLA_INFO_DATA, known.type_max), out->mutable_info_data());
    }
  }
  std::string_view slave = info.String(IFLA_INFO_SLAVE_KIND);
  out->set_info_slave_kind(info.Text(IFLA_INFO_SLAVE_KIND));
  for (const auto& known : kSlaveKinds) {
    if (slave == known.name && info.Has(IFLA_INFO_SLAVE_DATA)) {
      known.fill(info.Nested(IFLA_INFO_SLAVE_DATA, known.type_max), out->mutable_info_slave_data());
    }
  }
}

}  // namespace ipcrpc::monitor
