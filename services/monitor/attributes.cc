#include "services/monitor/attributes.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/if_arp.h>
#include <sys/socket.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {

Attributes::Attributes(Bytes payload, uint16_t type_max) : table_(type_max + 1u, nullptr) {
  while (!payload.empty()) {
    const auto* attr = reinterpret_cast<const nlattr*>(payload.data());
    if (payload.size() < sizeof(nlattr) || !mnl_attr_ok(attr, static_cast<int>(payload.size()))) {
      // What is left after the last attribute may be padding to 4 bytes, no more.
      malformed_ = payload.size() >= MNL_ALIGNTO;
      return;
    }
    uint16_t type = mnl_attr_get_type(attr);
    if (type <= type_max) table_[type] = attr;
    payload = payload.subspan(std::min<size_t>(MNL_ALIGN(attr->nla_len), payload.size()));
  }
}

std::optional<uint16_t> Attributes::U16Be(uint16_t type) const {
  auto value = U16(type);
  if (value) value = be16toh(*value);
  return value;
}

std::optional<uint64_t> Attributes::U64Be(uint16_t type) const {
  auto value = Number<uint64_t>(type);
  if (value) value = be64toh(*value);
  return value;
}

std::string_view Attributes::String(uint16_t type) const {
  Bytes bytes = Payload(type);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.substr(0, text.find('\0'));
}

std::string Attributes::Text(uint16_t type) const { return ValidUtf8(String(type)); }

Bytes Attributes::Payload(uint16_t type) const {
  const nlattr* attr = Find(type);
  if (attr == nullptr) return {};
  return {static_cast<const uint8_t*>(mnl_attr_get_payload(attr)), mnl_attr_get_payload_len(attr)};
}

Bytes AttributeBytes(const nlmsghdr* message, size_t header_size) {
  size_t size = mnl_nlmsg_get_payload_len(message);
  size_t skip = MNL_ALIGN(header_size);
  if (size <= skip) return {};
  return {static_cast<const uint8_t*>(mnl_nlmsg_get_payload_offset(message, header_size)), size - skip};
}

std::string IpText(int family, Bytes address) {
  size_t wanted = family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
  if (wanted == 0 || address.size() != wanted) return "";
  char text[INET6_ADDRSTRLEN];
  if (inet_ntop(family, address.data(), text, sizeof text) == nullptr) return "";
  return text;
}

std::string ColonHex(Bytes address) {
  std::string text;
  for (uint8_t byte : address) absl::StrAppendFormat(&text, "%s%02x", text.empty() ? "" : ":", byte);
  return text;
}

std::string LinkLayerText(Bytes address, uint16_t hardware_type) {
  bool ipv4 = hardware_type == ARPHRD_TUNNEL || hardware_type == ARPHRD_SIT || hardware_type == ARPHRD_IPGRE;
  bool ipv6 = hardware_type == ARPHRD_TUNNEL6 || hardware_type == ARPHRD_IP6GRE;
  if (ipv4 && address.size() == 4) return IpText(AF_INET, address);
  if (ipv6 && address.size() == 16) return IpText(AF_INET6, address);
  return ColonHex(address);
}

std::string PlainHex(Bytes bytes) {
  std::string text;
  for (uint8_t byte : bytes) absl::StrAppendFormat(&text, "%02x", byte);
  return text;
}

std::string Hex(uint64_t value) { return absl::StrFormat("0x%x", value); }

std::string BareHex(uint64_t value) { return absl::StrFormat("%x", value); }

std::string FamilyName(int family) {
  switch (family) {
    case AF_INET: return "inet";
    case AF_INET6: return "inet6";
    case AF_PACKET: return "link";
    case AF_MPLS: return "mpls";
    case AF_BRIDGE: return "bridge";
    default: return "???";
  }
}

}  // namespace ipcrpc::monitor
