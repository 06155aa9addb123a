#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "services/monitor/key.h"
#include "services/monitor/parse.h"

namespace ipcrpc::monitor {
namespace {

constexpr std::pair<uint16_t, const char*> kStates[] = {
    {NUD_INCOMPLETE, "INCOMPLETE"}, {NUD_REACHABLE, "REACHABLE"}, {NUD_STALE, "STALE"},
    {NUD_DELAY, "DELAY"},           {NUD_PROBE, "PROBE"},         {NUD_FAILED, "FAILED"},
    {NUD_NOARP, "NOARP"},           {NUD_PERMANENT, "PERMANENT"},
};

}  // namespace

absl::StatusOr<std::optional<NetItem>> ParseNeighbor(const nlmsghdr* message, const NameTables& names) {
  auto header = FixedHeader<ndmsg>(message);
  if (!header) return Malformed(message, "too short for a neighbour");
  Attributes attrs(AttributeBytes(message, sizeof(ndmsg)), NDA_MAX);
  if (attrs.malformed()) return Malformed(message, "an attribute runs over its end");
  int family = header->ndm_family;
  // Proxies are left out (left_out.h); the kernel's bridge answers here with AF_BRIDGE.
  if ((family != AF_INET && family != AF_INET6) || (header->ndm_flags & NTF_PROXY)) return std::optional<NetItem>();
  Bytes dst = attrs.Payload(NDA_DST);
  if (IpText(family, dst).empty()) return Malformed(message, "no destination of the family's length");

  NetItem item;
  item.key = KeyBuilder(v1::NetObject::NEIGHBOR, family).U32(header->ndm_ifindex).Raw(dst).str();
  v1::Neighbor* out = item.object.mutable_neighbor();
  out->set_ifindex(header->ndm_ifindex);
  out->set_family(FamilyName(family));
  out->set_dst(IpText(family, dst));
  out->set_lladdr(ColonHex(attrs.Payload(NDA_LLADDR)));
  for (const auto& [bit, name] : kStates) {
    if (header->ndm_state & bit) out->add_state(name);
  }
  uint32_t more_flags = attrs.U32(NDA_FLAGS_EXT).value_or(0);
  out->set_router(header->ndm_flags & NTF_ROUTER);
  out->set_extern_learn(header->ndm_flags & NTF_EXT_LEARNED);
  out->set_offload(header->ndm_flags & NTF_OFFLOADED);
  out->set_managed(more_flags & NTF_EXT_MANAGED);
  // In headers newer than those this is built with.
  constexpr uint32_t kExtValidated = 1u << 1;
  out->set_extern_valid(more_flags & kExtValidated);
  if (auto protocol = attrs.U8(NDA_PROTOCOL); protocol && *protocol != 0) {
    out->set_protocol(names.Protocol(*protocol));
  }
  return item;
}

}  // namespace ipcrpc::monitor
