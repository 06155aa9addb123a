#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "services/monitor/key.h"
#include "services/monitor/parse.h"

namespace ipcrpc::monitor {
namespace {

constexpr uint32_t kForEver = 0xffffffff;

struct FlagField {
  uint32_t bit;
  void (v1::Address::*set)(bool);
};

// Without IFA_F_SECONDARY, which means another thing per family, and IFA_F_PERMANENT, shown by its absence.
constexpr FlagField kFlags[] = {
    {IFA_F_NODAD, &v1::Address::set_nodad},
    {IFA_F_OPTIMISTIC, &v1::Address::set_optimistic},
    {IFA_F_DADFAILED, &v1::Address::set_dadfailed},
    {IFA_F_HOMEADDRESS, &v1::Address::set_home},
    {IFA_F_DEPRECATED, &v1::Address::set_deprecated},
    {IFA_F_TENTATIVE, &v1::Address::set_tentative},
    {IFA_F_MANAGETEMPADDR, &v1::Address::set_mngtmpaddr},
    {IFA_F_NOPREFIXROUTE, &v1::Address::set_noprefixroute},
    {IFA_F_MCAUTOJOIN, &v1::Address::set_autojoin},
    {IFA_F_STABLE_PRIVACY, &v1::Address::set_stable_privacy},
};

void FillFlags(int family, uint32_t flags, v1::Address* out) {
  if (flags & IFA_F_SECONDARY) {
    family == AF_INET6 ? out->set_temporary(true) : out->set_secondary(true);
  }
  out->set_dynamic(!(flags & IFA_F_PERMANENT));
  flags &= ~(IFA_F_SECONDARY | IFA_F_PERMANENT);
  for (const FlagField& flag : kFlags) {
    if (flags & flag.bit) (out->*flag.set)(true);
    flags &= ~flag.bit;
  }
  if (flags != 0) out->set_ifa_flags(flags < 16 ? "0" + BareHex(flags) : BareHex(flags));
}

}  // namespace

absl::StatusOr<std::optional<NetItem>> ParseAddress(const nlmsghdr* message, const NameTables& names) {
  auto header = FixedHeader<ifaddrmsg>(message);
  if (!header) return Malformed(message, "too short for an address");
  Attributes attrs(AttributeBytes(message, sizeof(ifaddrmsg)), IFA_MAX);
  if (attrs.malformed()) return Malformed(message, "an attribute runs over its end");
  int family = header->ifa_family;
  if (family != AF_INET && family != AF_INET6) return std::optional<NetItem>();

  // Either may stand for both.
  Bytes local = attrs.Payload(attrs.Has(IFA_LOCAL) ? IFA_LOCAL : IFA_ADDRESS);
  Bytes peer = attrs.Payload(attrs.Has(IFA_ADDRESS) ? IFA_ADDRESS : IFA_LOCAL);
  if (IpText(family, local).empty()) return Malformed(message, "no address of the family's length");

  NetItem item;
  item.key = KeyBuilder(v1::NetObject::ADDRESS, family)
                 .U32(header->ifa_index)
                 .Raw(local)
                 .Raw(peer)
                 .U8(header->ifa_prefixlen)
                 .str();
  v1::Address* out = item.object.mutable_address();
  out->set_ifindex(header->ifa_index);
  out->set_family(FamilyName(family));
  out->set_local(IpText(family, local));
  if (!std::equal(local.begin(), local.end(), peer.begin(), peer.end())) out->set_address(IpText(family, peer));
  out->set_prefixlen(header->ifa_prefixlen);
  out->set_broadcast(IpText(family, attrs.Payload(IFA_BROADCAST)));
  out->set_anycast(IpText(family, attrs.Payload(IFA_ANYCAST)));
  if (auto metric = attrs.U32(IFA_RT_PRIORITY)) out->set_metric(*metric);
  out->set_scope(names.Scope(header->ifa_scope));
  FillFlags(family, attrs.U32(IFA_FLAGS).value_or(header->ifa_flags), out);
  out->set_label(attrs.Text(IFA_LABEL));
  if (auto protocol = attrs.U8(IFA_PROTO); protocol && *protocol != 0) {
    out->set_protocol(names.AddressProtocol(*protocol));
  }
  if (auto times = attrs.Struct<ifa_cacheinfo>(IFA_CACHEINFO)) {
    if (times->ifa_valid == kForEver) out->set_valid_life_time(kForEver);
    if (times->ifa_prefered == kForEver) out->set_preferred_life_time(kForEver);
  }
  return item;
}

}  // namespace ipcrpc::monitor
