#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "services/monitor/key.h"
#include "services/monitor/parse.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {
namespace {

struct FlagName {
  uint32_t bit;
  const char* name;
};

constexpr FlagName kFlags[] = {
    {IFF_LOOPBACK, "LOOPBACK"}, {IFF_BROADCAST, "BROADCAST"}, {IFF_POINTOPOINT, "POINTOPOINT"},
    {IFF_MULTICAST, "MULTICAST"}, {IFF_NOARP, "NOARP"},       {IFF_ALLMULTI, "ALLMULTI"},
    {IFF_PROMISC, "PROMISC"},   {IFF_MASTER, "MASTER"},       {IFF_SLAVE, "SLAVE"},
    {IFF_DEBUG, "DEBUG"},       {IFF_DYNAMIC, "DYNAMIC"},     {IFF_AUTOMEDIA, "AUTOMEDIA"},
    {IFF_PORTSEL, "PORTSEL"},   {IFF_NOTRAILERS, "NOTRAILERS"}, {IFF_UP, "UP"},
    {IFF_LOWER_UP, "LOWER_UP"}, {IFF_DORMANT, "DORMANT"},     {IFF_ECHO, "ECHO"},
};

constexpr const char* kOperStates[] = {"UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN",
                                       "TESTING", "DORMANT",    "UP"};
constexpr const char* kLinkModes[] = {"DEFAULT", "DORMANT"};

// Numbers that go over as they are.
struct NumberField {
  uint16_t type;
  void (v1::Link::*set)(uint32_t);
};

constexpr NumberField kNumbers[] = {
    {IFLA_PROMISCUITY, &v1::Link::set_promiscuity},
    {IFLA_MIN_MTU, &v1::Link::set_min_mtu},
    {IFLA_MAX_MTU, &v1::Link::set_max_mtu},
    {IFLA_NUM_TX_QUEUES, &v1::Link::set_num_tx_queues},
    {IFLA_NUM_RX_QUEUES, &v1::Link::set_num_rx_queues},
    {IFLA_GSO_MAX_SIZE, &v1::Link::set_gso_max_size},
    {IFLA_GSO_MAX_SEGS, &v1::Link::set_gso_max_segs},
    {IFLA_TSO_MAX_SIZE, &v1::Link::set_tso_max_size},
    {IFLA_TSO_MAX_SEGS, &v1::Link::set_tso_max_segs},
    {IFLA_GRO_MAX_SIZE, &v1::Link::set_gro_max_size},
    {IFLA_ALLMULTI, &v1::Link::set_allmulti},
};

void FillFlags(uint32_t flags, v1::Link* link) {
  if ((flags & IFF_UP) && !(flags & IFF_RUNNING)) link->add_flags("NO-CARRIER");
  flags &= ~IFF_RUNNING;
  for (const FlagName& flag : kFlags) {
    if (flags & flag.bit) link->add_flags(flag.name);
    flags &= ~flag.bit;
  }
  if (flags != 0) link->add_flags(BareHex(flags));
}

void FillStates(const Attributes& attrs, v1::Link* link) {
  if (auto state = attrs.U8(IFLA_OPERSTATE)) {
    if (*state < std::size(kOperStates)) {
      link->set_operstate(kOperStates[*state]);
    } else {
      link->set_operstate_index(*state);
    }
  }
  if (auto mode = attrs.U8(IFLA_LINKMODE)) {
    if (*mode < std::size(kLinkModes)) {
      link->set_linkmode(kLinkModes[*mode]);
    } else {
      link->set_linkmode_index(*mode);
    }
  }
}

void FillHardware(const ifinfomsg& header, const Attributes& attrs, v1::Link* link) {
  link->set_link_type(HardwareTypeName(header.ifi_type));
  Bytes address = attrs.Payload(IFLA_ADDRESS);
  link->set_address(LinkLayerText(address, header.ifi_type));
  if (attrs.Has(IFLA_BROADCAST)) {
    link->set_link_pointtopoint(header.ifi_flags & IFF_POINTOPOINT);
    link->set_broadcast(LinkLayerText(attrs.Payload(IFLA_BROADCAST), header.ifi_type));
  }
  Bytes burnt_in = attrs.Payload(IFLA_PERM_ADDRESS);
  if (!burnt_in.empty() && !std::equal(burnt_in.begin(), burnt_in.end(), address.begin(), address.end())) {
    link->set_permaddr(LinkLayerText(burnt_in, header.ifi_type));
  }
}

void FillAddressMode(const Attributes& attrs, v1::Link* link) {
  Attributes inet6 = attrs.Nested(IFLA_AF_SPEC, AF_MAX).Nested(AF_INET6, IFLA_INET6_MAX);
  auto mode = inet6.U8(IFLA_INET6_ADDR_GEN_MODE);
  if (!mode) return;
  switch (*mode) {
    case IN6_ADDR_GEN_MODE_EUI64: link->set_inet6_addr_gen_mode("eui64"); break;
    case IN6_ADDR_GEN_MODE_NONE: link->set_inet6_addr_gen_mode("none"); break;
    case IN6_ADDR_GEN_MODE_STABLE_PRIVACY: link->set_inet6_addr_gen_mode("stable_secret"); break;
    case IN6_ADDR_GEN_MODE_RANDOM: link->set_inet6_addr_gen_mode("random"); break;
    default: link->set_inet6_addr_gen_mode(Hex(*mode));
  }
}

// A nest of names, each an attribute of the same type: by hand, as Attributes keeps one of a type.
void FillAltNames(Bytes list, v1::Link* link) {
  while (!list.empty()) {
    const auto* attr = reinterpret_cast<const nlattr*>(list.data());
    if (list.size() < sizeof(nlattr) || !mnl_attr_ok(attr, static_cast<int>(list.size()))) return;
    if (mnl_attr_get_type(attr) == IFLA_ALT_IFNAME) {
      std::string_view name(static_cast<const char*>(mnl_attr_get_payload(attr)), mnl_attr_get_payload_len(attr));
      link->add_altnames(ValidUtf8(name.substr(0, name.find('\0'))));
    }
    list = list.subspan(std::min<size_t>(MNL_ALIGN(attr->nla_len), list.size()));
  }
}

}  // namespace

absl::StatusOr<std::optional<NetItem>> ParseLink(const nlmsghdr* message, const NameTables& names) {
  auto header = FixedHeader<ifinfomsg>(message);
  if (!header) return Malformed(message, "too short for a link");
  Attributes attrs(AttributeBytes(message, sizeof(ifinfomsg)), IFLA_MAX);
  if (attrs.malformed()) return Malformed(message, "an attribute runs over its end");
  // A bridge tells of its ports, and a wireless card of its state, by messages that carry little else.
  if (header->ifi_family != AF_UNSPEC || attrs.Has(IFLA_WIRELESS) || header->ifi_index <= 0) {
    return std::optional<NetItem>();
  }

  NetItem item;
  item.key = KeyBuilder(v1::NetObject::LINK, 0).U32(header->ifi_index).str();
  item.hardware_type = header->ifi_type;
  item.link_flags = header->ifi_flags;
  v1::Link* link = item.object.mutable_link();
  link->set_ifindex(header->ifi_index);
  link->set_ifname(attrs.Text(IFLA_IFNAME));
  if (auto below = attrs.U32(IFLA_LINK); below && *below != 0) link->set_link_index(*below);
  if (auto id = attrs.S32(IFLA_LINK_NETNSID)) link->set_link_netnsid(*id);
  FillFlags(header->ifi_flags, link);
  link->set_mtu(attrs.U32(IFLA_MTU).value_or(0));
  link->set_qdisc(attrs.Text(IFLA_QDISC));
  if (auto master = attrs.U32(IFLA_MASTER)) link->set_master_index(*master);
  FillStates(attrs, link);
  if (auto group = attrs.U32(IFLA_GROUP)) link->set_group(names.Group(*group));
  if (auto length = attrs.U32(IFLA_TXQLEN); length && *length != 0) link->set_txqlen(*length);
  FillHardware(*header, attrs, link);
  link->set_proto_down(attrs.U8(IFLA_PROTO_DOWN).value_or(0) != 0);
  link->set_ifalias(attrs.Text(IFLA_IFALIAS));
  FillAltNames(attrs.Payload(IFLA_PROP_LIST), link);
  for (const NumberField& field : kNumbers) {
    if (auto value = attrs.U32(field.type)) (link->*field.set)(*value);
  }
  if (attrs.Has(IFLA_LINKINFO)) ParseLinkInfo(attrs.Nested(IFLA_LINKINFO, IFLA_INFO_MAX), link->mutable_linkinfo());
  FillAddressMode(attrs, link);
  link->set_phys_port_name(attrs.Text(IFLA_PHYS_PORT_NAME));
  link->set_phys_port_id(PlainHex(attrs.Payload(IFLA_PHYS_PORT_ID)));
  link->set_phys_switch_id(PlainHex(attrs.Payload(IFLA_PHYS_SWITCH_ID)));
  link->set_parentbus(attrs.Text(IFLA_PARENT_DEV_BUS_NAME));
  link->set_parentdev(attrs.Text(IFLA_PARENT_DEV_NAME));
  return item;
}

}  // namespace ipcrpc::monitor
