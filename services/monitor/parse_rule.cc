#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netdb.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "services/monitor/key.h"
#include "services/monitor/parse.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {
namespace {

constexpr uint32_t kUnset = 0xffffffff;

// Flags that follow from other objects, so that they are no part of what a rule is.
constexpr uint32_t kDerivedFlags = FIB_RULE_UNRESOLVED | FIB_RULE_IIF_DETACHED | FIB_RULE_OIF_DETACHED;

void FillSelector(const fib_rule_hdr& header, const Attributes& attrs, const NameTables& names, v1::Rule* out) {
  int family = header.family;
  uint32_t host_length = family == AF_INET ? 32 : 128;
  if (header.src_len == 0) {
    out->set_src("all");
  } else {
    std::string src = IpText(family, attrs.Payload(FRA_SRC));
    bool known = !src.empty();
    out->set_src(known ? src : "0");
    if (!known || header.src_len != host_length) out->set_srclen(header.src_len);
  }
  if (header.dst_len != 0) {
    std::string dst = IpText(family, attrs.Payload(FRA_DST));
    bool known = !dst.empty();
    out->set_dst(known ? dst : "0");
    if (!known || header.dst_len != host_length) out->set_dstlen(header.dst_len);
  }
  if (header.tos != 0) out->set_tos(names.DsField(header.tos));
  auto mark = attrs.U32(FRA_FWMARK);
  auto mask = attrs.U32(FRA_FWMASK);
  if (mark || mask) {
    out->set_fwmark(Hex(mark.value_or(0)));
    if (mask && *mask != 0xffffffff) out->set_fwmask(Hex(*mask));
  }
  out->set_iif(attrs.Text(FRA_IIFNAME));
  out->set_oif(attrs.Text(FRA_OIFNAME));
  out->set_l3mdev(attrs.U8(FRA_L3MDEV).value_or(0) != 0);
  if (auto range = attrs.Struct<fib_rule_uid_range>(FRA_UID_RANGE)) {
    out->set_uid_start(range->start);
    out->set_uid_end(range->end);
  }
  if (auto tunnel = attrs.U64Be(FRA_TUN_ID)) out->set_tun_id(*tunnel);
}

// By the names of /etc/protocols, which is read here each time it is asked; rules are few.
std::string IpProtocolName(uint8_t protocol) {
  protoent entry, *found = nullptr;
  char buffer[1024];
  if (getprotobynumber_r(protocol, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) {
    return ValidUtf8(found->p_name);
  }
  return absl::StrCat("ipproto-", protocol);
}

void FillPorts(const Attributes& attrs, v1::Rule* out) {
  if (auto protocol = attrs.U8(FRA_IP_PROTO); protocol && *protocol != 0) {
    out->set_ipproto(IpProtocolName(*protocol));
  }
  if (auto ports = attrs.Struct<fib_rule_port_range>(FRA_SPORT_RANGE)) {
    if (ports->start == ports->end) {
      out->set_sport(ports->start);
    } else {
      out->set_sport_start(ports->start);
      out->set_sport_end(ports->end);
    }
  }
  if (auto ports = attrs.Struct<fib_rule_port_range>(FRA_DPORT_RANGE)) {
    if (ports->start == ports->end) {
      out->set_dport(ports->start);
    } else {
      out->set_dport_start(ports->start);
      out->set_dport_end(ports->end);
    }
  }
}

void FillAction(const fib_rule_hdr& header, const Attributes& attrs, const NameTables& names, v1::Rule* out) {
  if (uint32_t table = attrs.U32(FRA_TABLE).value_or(header.table); table != 0) {
    out->set_table(names.Table(table));
    uint32_t prefix = attrs.U32(FRA_SUPPRESS_PREFIXLEN).value_or(kUnset);
    if (prefix != kUnset) out->set_suppress_prefixlen(prefix);
    uint32_t group = attrs.U32(FRA_SUPPRESS_IFGROUP).value_or(kUnset);
    if (group != kUnset) out->set_suppress_ifgroup(names.Group(group));
  }
  if (auto realms = attrs.U32(FRA_FLOW)) {
    if (*realms >> 16 != 0) out->set_flow_from(names.Realm(*realms >> 16));
    out->set_flow_to(names.Realm(*realms & 0xffff));
  }
  if (header.action == FR_ACT_GOTO) {
    if (auto target = attrs.U32(FRA_GOTO)) out->set_goto_(*target);
  } else if (header.action == FR_ACT_NOP) {
    out->set_nop(true);
  } else if (header.action != FR_ACT_TO_TBL) {
    // The actions share their numbers with the types of routes.
    out->set_action(RouteTypeName(header.action));
  }
  if (auto protocol = attrs.U8(FRA_PROTOCOL)) out->set_protocol(names.Protocol(*protocol));
}

}  // namespace

absl::StatusOr<std::optional<NetItem>> ParseRule(const nlmsghdr* message, const NameTables& names) {
  auto header = FixedHeader<fib_rule_hdr>(message);
  if (!header) return Malformed(message, "too short for a rule");
  Bytes attribute_bytes = AttributeBytes(message, sizeof(fib_rule_hdr));
  Attributes attrs(attribute_bytes, FRA_MAX);
  if (attrs.malformed()) return Malformed(message, "an attribute runs over its end");
  if (header->family != AF_INET && header->family != AF_INET6) return std::optional<NetItem>();

  NetItem item;
  uint32_t priority = attrs.U32(FRA_PRIORITY).value_or(0);
  // A rule is all that it says: also what a newer kernel says in attributes that are not known here.
  item.key = KeyBuilder(v1::NetObject::RULE, header->family)
                 .U32(priority)
                 .U8(header->src_len)
                 .U8(header->dst_len)
                 .U8(header->tos)
                 .U8(header->action)
                 .U32(header->flags & ~kDerivedFlags)
                 .Raw(attribute_bytes)
                 .str();
  v1::Rule* out = item.object.mutable_rule();
  out->set_family(FamilyName(header->family));
  out->set_priority(priority);
  out->set_not_(header->flags & FIB_RULE_INVERT);
  FillSelector(*header, attrs, names, out);
  FillPorts(attrs, out);
  FillAction(*header, attrs, names, out);
  return item;
}

}  // namespace ipcrpc::monitor
