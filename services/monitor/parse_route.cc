#include <linux/icmpv6.h>
#include <linux/lwtunnel.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/monitor/key.h"
#include "services/monitor/parse.h"

namespace ipcrpc::monitor {
namespace {

constexpr std::pair<uint32_t, const char*> kFlags[] = {
    {RTNH_F_DEAD, "dead"},
    {RTNH_F_ONLINK, "onlink"},
    {RTNH_F_PERVASIVE, "pervasive"},
    {RTNH_F_OFFLOAD, "offload"},
    {RTNH_F_TRAP, "trap"},
    {RTM_F_NOTIFY, "notify"},
    {RTNH_F_LINKDOWN, "linkdown"},
    {RTNH_F_UNRESOLVED, "unresolved"},
    {RTM_F_OFFLOAD, "rt_offload"},
    {RTM_F_TRAP, "rt_trap"},
    {RTM_F_OFFLOAD_FAILED, "rt_offload_failed"},
};

struct Metric {
  uint16_t type;
  const char* name;
  void (v1::RouteMetrics::*set)(uint32_t);
  // The kernel keeps round-trip times in eighths and quarters of a millisecond.
  uint32_t divisor = 1;
};

constexpr Metric kMetrics[] = {
    {RTAX_MTU, "mtu", &v1::RouteMetrics::set_mtu},
    {RTAX_WINDOW, "window", &v1::RouteMetrics::set_window},
    {RTAX_RTT, "rtt", &v1::RouteMetrics::set_rtt, 8},
    {RTAX_RTTVAR, "rttvar", &v1::RouteMetrics::set_rttvar, 4},
    {RTAX_SSTHRESH, "ssthresh", &v1::RouteMetrics::set_ssthresh},
    {RTAX_CWND, "cwnd", &v1::RouteMetrics::set_cwnd},
    {RTAX_ADVMSS, "advmss", &v1::RouteMetrics::set_advmss},
    {RTAX_REORDERING, "reordering", &v1::RouteMetrics::set_reordering},
    {RTAX_HOPLIMIT, "hoplimit", &v1::RouteMetrics::set_hoplimit},
    {RTAX_INITCWND, "initcwnd", &v1::RouteMetrics::set_initcwnd},
    {RTAX_RTO_MIN, "rto_min", &v1::RouteMetrics::set_rto_min},
    {RTAX_INITRWND, "initrwnd", &v1::RouteMetrics::set_initrwnd},
    {RTAX_QUICKACK, "quickack", &v1::RouteMetrics::set_quickack},
    {RTAX_FASTOPEN_NO_COOKIE, "fastopen_no_cookie", &v1::RouteMetrics::set_fastopen_no_cookie},
};

constexpr const char* kEncapsulations[] = {"none", "mpls", "ip",       "ila", "ip6",
                                           "seg6", "bpf",  "seg6local", "rpl", "ioam6", "xfrm"};

std::string Encapsulation(const Attributes& attrs) {
  auto type = attrs.U16(RTA_ENCAP_TYPE);
  if (!attrs.Has(RTA_ENCAP) || !type) return "";
  return *type < std::size(kEncapsulations) ? kEncapsulations[*type] : "unknown";
}

// "default", an address, or ADDRESS/LENGTH; iproute2 writes a network without address as 0/LENGTH.
std::string Destination(int family, Bytes address, uint32_t length) {
  std::string text = IpText(family, address);
  if (text.empty()) return length == 0 ? "default" : absl::StrCat("0/", length);
  if (length == (family == AF_INET ? 32u : 128u)) return text;
  return absl::StrCat(text, "/", length);
}

template <typename Message>
void FillFlags(uint32_t flags, uint32_t mask, Message* out) {
  for (const auto& [bit, name] : kFlags) {
    if (flags & mask & bit) out->add_flags(name);
  }
}

// Two realms in one number: the source's in the upper half, the destination's below.
void FillFlow(uint32_t realms, const NameTables& names, v1::Flow* out) {
  if (realms >> 16 != 0) out->set_from(names.Realm(realms >> 16));
  out->set_to(names.Realm(realms & 0xffff));
}

void FillVia(Bytes via, v1::Via* out) {
  uint16_t family;
  if (via.size() <= sizeof family) return;
  __builtin_memcpy(&family, via.data(), sizeof family);
  Bytes address = via.subspan(sizeof family);
  out->set_family(FamilyName(family));
  std::string host = IpText(family, address);
  out->set_host(host.empty() ? PlainHex(address) : host);
}

template <typename Message>
void FillGateway(int family, const Attributes& attrs, Message* out) {
  out->set_gateway(IpText(family, attrs.Payload(RTA_GATEWAY)));
  if (attrs.Has(RTA_VIA)) FillVia(attrs.Payload(RTA_VIA), out->mutable_via());
}

void FillMetrics(const Attributes& metrics, v1::RouteMetrics* out) {
  uint32_t locked = metrics.U32(RTAX_LOCK).value_or(0);
  for (const Metric& metric : kMetrics) {
    auto value = metrics.U32(metric.type);
    // The kernel says -1 for a hop limit that is the interface's.
    if (value && !(metric.type == RTAX_HOPLIMIT && *value == 0xffffffff)) (out->*metric.set)(*value / metric.divisor);
    if (locked & (1u << metric.type)) out->add_locked(metric.name);
  }
  uint32_t features = metrics.U32(RTAX_FEATURES).value_or(0);
  out->set_ecn(features & RTAX_FEATURE_ECN);
  if (uint32_t others = features & ~static_cast<uint32_t>(RTAX_FEATURE_ECN)) out->set_features(Hex(others));
  out->set_congestion(metrics.Text(RTAX_CC_ALGO));
}

// What tells one way of a route from another: where to, not in what state.
std::string WaySignature(uint32_t oif, const Attributes& attrs) {
  return KeyBuilder(0, 0)
      .U32(oif)
      .Raw(attrs.Payload(RTA_GATEWAY))
      .Raw(attrs.Payload(RTA_VIA))
      .Raw(attrs.Payload(RTA_ENCAP))
      .str();
}

void FillNextHop(int family, const rtnexthop& hop, const Attributes& attrs, const NameTables& names,
                 v1::NextHop* out) {
  FillGateway(family, attrs, out);
  out->set_oif(static_cast<uint32_t>(hop.rtnh_ifindex));
  out->set_weight(hop.rtnh_hops + 1u);
  FillFlags(hop.rtnh_flags, 0xff, out);
  if (auto realms = attrs.U32(RTA_FLOW)) FillFlow(*realms, names, out->mutable_flow());
  out->set_encap(Encapsulation(attrs));
}

// Adds the ways of a multipath route; false when the list is broken.
bool FillNextHops(int family, Bytes list, const NameTables& names, v1::Route* route,
                  std::vector<std::string>* signatures) {
  while (!list.empty()) {
    rtnexthop hop;
    if (list.size() < sizeof hop) return false;
    __builtin_memcpy(&hop, list.data(), sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > list.size()) return false;
    Attributes attrs(list.subspan(sizeof hop, hop.rtnh_len - sizeof hop), RTA_MAX);
    if (attrs.malformed()) return false;
    FillNextHop(family, hop, attrs, names, route->add_nexthops());
    signatures->push_back(WaySignature(static_cast<uint32_t>(hop.rtnh_ifindex), attrs));
    list = list.subspan(std::min<size_t>(MNL_ALIGN(hop.rtnh_len), list.size()));
  }
  return true;
}

std::string Preference(uint8_t preference) {
  switch (preference) {
    case ICMPV6_ROUTER_PREF_LOW: return "low";
    case ICMPV6_ROUTER_PREF_MEDIUM: return "medium";
    case ICMPV6_ROUTER_PREF_HIGH: return "high";
    default: return absl::StrCat(preference);
  }
}

void FillRoute(const rtmsg& header, const Attributes& attrs, uint32_t table, const NameTables& names,
               v1::Route* out) {
  int family = header.rtm_family;
  out->set_family(FamilyName(family));
  out->set_type(RouteTypeName(header.rtm_type));
  out->set_dst(Destination(family, attrs.Payload(RTA_DST), header.rtm_dst_len));
  if (attrs.Has(RTA_SRC) || header.rtm_src_len != 0) {
    out->set_from(Destination(family, attrs.Payload(RTA_SRC), header.rtm_src_len));
  }
  out->set_to(IpText(family, attrs.Payload(RTA_NEWDST)));
  out->set_encap(Encapsulation(attrs));
  if (header.rtm_tos != 0) out->set_tos(names.DsField(header.rtm_tos));
  if (auto id = attrs.U32(RTA_NH_ID)) out->set_nhid(*id);
  FillGateway(family, attrs, out);
  if (auto oif = attrs.U32(RTA_OIF)) out->set_oif(*oif);
  out->set_table(names.Table(table));
  out->set_protocol(names.Protocol(header.rtm_protocol));
  out->set_scope(names.Scope(header.rtm_scope));
  out->set_prefsrc(IpText(family, attrs.Payload(RTA_PREFSRC)));
  if (auto priority = attrs.U32(RTA_PRIORITY)) out->set_priority(*priority);
  FillFlags(header.rtm_flags, ~0u, out);
  if (auto realms = attrs.U32(RTA_FLOW)) FillFlow(*realms, names, out->mutable_flow());
  if (attrs.Has(RTA_METRICS)) FillMetrics(attrs.Nested(RTA_METRICS, RTAX_MAX), out->add_metrics());
  if (auto preference = attrs.U8(RTA_PREF)) out->set_pref(Preference(*preference));
  if (auto propagate = attrs.U8(RTA_TTL_PROPAGATE)) out->set_ttl_propagate(*propagate != 0);
}

}  // namespace

absl::StatusOr<std::optional<NetItem>> ParseRoute(const nlmsghdr* message, const NameTables& names) {
  auto header = FixedHeader<rtmsg>(message);
  if (!header) return Malformed(message, "too short for a route");
  Attributes attrs(AttributeBytes(message, sizeof(rtmsg)), RTA_MAX);
  if (attrs.malformed()) return Malformed(message, "an attribute runs over its end");
  int family = header->rtm_family;
  if ((family != AF_INET && family != AF_INET6) || (header->rtm_flags & RTM_F_CLONED)) return std::optional<NetItem>();

  uint32_t table = attrs.U32(RTA_TABLE).value_or(header->rtm_table);
  NetItem item;
  v1::Route* out = item.object.mutable_route();
  FillRoute(*header, attrs, table, names, out);
  std::vector<std::string> ways;
  if (attrs.Has(RTA_MULTIPATH)) {
    if (!FillNextHops(family, attrs.Payload(RTA_MULTIPATH), names, out, &ways)) {
      return Malformed(message, "its list of next hops is broken");
    }
  } else {
    ways.push_back(WaySignature(attrs.U32(RTA_OIF).value_or(0), attrs));
  }
  item.base_key = KeyBuilder(v1::NetObject::ROUTE, family)
                      .U32(table)
                      .Raw(attrs.Payload(RTA_DST))
                      .U8(header->rtm_dst_len)
                      .Raw(attrs.Payload(RTA_SRC))
                      .U8(header->rtm_src_len)
                      .U8(header->rtm_tos)
                      .U32(attrs.U32(RTA_PRIORITY).value_or(0))
                      .str();
  std::sort(ways.begin(), ways.end());
  KeyBuilder signature(header->rtm_type, header->rtm_protocol);
  signature.U8(header->rtm_scope).U32(attrs.U32(RTA_NH_ID).value_or(0));
  for (const std::string& way : ways) signature.Text(way);
  item.key = item.base_key + signature.str();
  return item;
}

}  // namespace ipcrpc::monitor
