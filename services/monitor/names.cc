#include "services/monitor/names.h"

#include <dirent.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {
namespace {

constexpr const char* kDirectories[] = {"/usr/share/iproute2", "/etc/iproute2"};

bool ParseId(absl::string_view text, uint32_t* id) {
  if (text.substr(0, 2) == "0x") return absl::SimpleHexAtoi(text, id);
  return absl::SimpleAtoi(text, id);
}

void ReadFile(const std::string& path, IdNames* names) {
  std::ifstream file(path);
  if (!file) return;
  std::stringstream text;
  text << file.rdbuf();
  ReadIdNames(text.str(), names);
}

// The *.conf files of a directory, in the order of their names.
void ReadDirectory(const std::string& path, IdNames* names) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), &closedir);
  if (!directory) return;
  std::vector<std::string> files;
  while (const dirent* entry = readdir(directory.get())) {
    std::string_view name = entry->d_name;
    if (name.size() > 5 && name[0] != '.' && name.ends_with(".conf")) files.emplace_back(name);
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) ReadFile(path + "/" + file, names);
}

std::string NameOrNumber(const IdNames& names, uint32_t id) {
  auto found = names.find(id);
  return found != names.end() ? found->second : absl::StrCat(id);
}

}  // namespace

void ReadIdNames(std::string_view text, IdNames* names) {
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    line = line.substr(0, line.find('#'));
    std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    uint32_t id;
    if (words.size() >= 2 && ParseId(words[0], &id)) (*names)[id] = ValidUtf8(std::string(words[1]));
  }
}

NameTables::NameTables()
    : tables_{{RT_TABLE_DEFAULT, "default"}, {RT_TABLE_MAIN, "main"}, {RT_TABLE_LOCAL, "local"}},
      protocols_{{RTPROT_UNSPEC, "unspec"}, {RTPROT_REDIRECT, "redirect"}, {RTPROT_KERNEL, "kernel"},
                 {RTPROT_BOOT, "boot"},     {RTPROT_STATIC, "static"},     {RTPROT_GATED, "gated"},
                 {RTPROT_RA, "ra"},         {RTPROT_MRT, "mrt"},           {RTPROT_ZEBRA, "zebra"},
                 {RTPROT_BIRD, "bird"},     {RTPROT_BABEL, "babel"},       {RTPROT_DNROUTED, "dnrouted"},
                 {RTPROT_XORP, "xorp"},     {RTPROT_NTK, "ntk"},           {RTPROT_DHCP, "dhcp"},
                 {RTPROT_BGP, "bgp"},       {RTPROT_ISIS, "isis"},         {RTPROT_OSPF, "ospf"},
                 {RTPROT_RIP, "rip"},       {RTPROT_EIGRP, "eigrp"},       {RTPROT_KEEPALIVED, "keepalived"}},
      scopes_{{RT_SCOPE_UNIVERSE, "global"},
              {RT_SCOPE_NOWHERE, "nowhere"},
              {RT_SCOPE_HOST, "host"},
              {RT_SCOPE_LINK, "link"},
              {RT_SCOPE_SITE, "site"}},
      realms_{{0, "unknown"}},
      ds_fields_{{0, "0"}},
      groups_{{0, "default"}},
      address_protocols_{{0, "unspec"}, {1, "kernel_lo"}, {2, "kernel_ra"}, {3, "kernel_ll"}} {}

NameTables NameTables::Load(const std::string& root) {
  NameTables names;
  const std::pair<const char*, IdNames*> files[] = {
      {"rt_tables", &names.tables_},    {"rt_protos", &names.protocols_},
      {"rt_scopes", &names.scopes_},    {"rt_realms", &names.realms_},
      {"rt_dsfield", &names.ds_fields_}, {"group", &names.groups_},
      {"rt_addrprotos", &names.address_protocols_}};
  for (const auto& [file, table] : files) {
    for (const char* directory : kDirectories) {
      std::string path = absl::StrCat(root, directory, "/", file);
      ReadFile(path, table);
      ReadDirectory(path + ".d", table);
    }
  }
  return names;
}

std::string NameTables::Table(uint32_t id) const { return NameOrNumber(tables_, id); }
std::string NameTables::Protocol(uint8_t id) const { return NameOrNumber(protocols_, id); }
std::string NameTables::Scope(uint8_t id) const { return NameOrNumber(scopes_, id); }
std::string NameTables::Realm(uint16_t id) const { return NameOrNumber(realms_, id); }
std::string NameTables::Group(uint32_t id) const { return NameOrNumber(groups_, id); }

std::string NameTables::DsField(uint8_t id) const {
  auto found = ds_fields_.find(id);
  return found != ds_fields_.end() ? found->second : absl::StrFormat("0x%02x", id);
}

std::string NameTables::AddressProtocol(uint8_t id) const {
  auto found = address_protocols_.find(id);
  return found != address_protocols_.end() ? found->second : absl::StrFormat("%#x", id);
}

std::string HardwareTypeName(uint16_t type) {
  static const IdNames* const names = new IdNames{{0, "generic"},
                                                  {ARPHRD_ETHER, "ether"},
                                                  {ARPHRD_EETHER, "eether"},
                                                  {ARPHRD_AX25, "ax25"},
                                                  {ARPHRD_PRONET, "pronet"},
                                                  {ARPHRD_CHAOS, "chaos"},
                                                  {ARPHRD_IEEE802, "ieee802"},
                                                  {ARPHRD_ARCNET, "arcnet"},
                                                  {ARPHRD_APPLETLK, "atalk"},
                                                  {ARPHRD_DLCI, "dlci"},
                                                  {ARPHRD_ATM, "atm"},
                                                  {ARPHRD_METRICOM, "metricom"},
                                                  {ARPHRD_IEEE1394, "ieee1394"},
                                                  {ARPHRD_INFINIBAND, "infiniband"},
                                                  {ARPHRD_SLIP, "slip"},
                                                  {ARPHRD_CSLIP, "cslip"},
                                                  {ARPHRD_SLIP6, "slip6"},
                                                  {ARPHRD_CSLIP6, "cslip6"},
                                                  {ARPHRD_RSRVD, "rsrvd"},
                                                  {ARPHRD_ADAPT, "adapt"},
                                                  {ARPHRD_ROSE, "rose"},
                                                  {ARPHRD_X25, "x25"},
                                                  {ARPHRD_HWX25, "hwx25"},
                                                  {ARPHRD_CAN, "can"},
                                                  {ARPHRD_PPP, "ppp"},
                                                  {ARPHRD_HDLC, "hdlc"},
                                                  {ARPHRD_LAPB, "lapb"},
                                                  {ARPHRD_DDCMP, "ddcmp"},
                                                  {ARPHRD_RAWHDLC, "rawhdlc"},
                                                  {ARPHRD_TUNNEL, "ipip"},
                                                  {ARPHRD_TUNNEL6, "tunnel6"},
                                                  {ARPHRD_FRAD, "frad"},
                                                  {ARPHRD_SKIP, "skip"},
                                                  {ARPHRD_LOOPBACK, "loopback"},
                                                  {ARPHRD_LOCALTLK, "ltalk"},
                                                  {ARPHRD_FDDI, "fddi"},
                                                  {ARPHRD_BIF, "bif"},
                                                  {ARPHRD_SIT, "sit"},
                                                  {ARPHRD_IPDDP, "ip/ddp"},
                                                  {ARPHRD_IPGRE, "gre"},
                                                  {ARPHRD_PIMREG, "pimreg"},
                                                  {ARPHRD_HIPPI, "hippi"},
                                                  {ARPHRD_ASH, "ash"},
                                                  {ARPHRD_ECONET, "econet"},
                                                  {ARPHRD_IRDA, "irda"},
                                                  {ARPHRD_FCPP, "fcpp"},
                                                  {ARPHRD_FCAL, "fcal"},
                                                  {ARPHRD_FCPL, "fcpl"},
                                                  {ARPHRD_IEEE802_TR, "tr"},
                                                  {ARPHRD_IEEE80211, "ieee802.11"},
                                                  {ARPHRD_IEEE80211_PRISM, "ieee802.11/prism"},
                                                  {ARPHRD_IEEE80211_RADIOTAP, "ieee802.11/radiotap"},
                                                  {ARPHRD_IEEE802154, "ieee802.15.4"},
                                                  {ARPHRD_IEEE802154_MONITOR, "ieee802.15.4/monitor"},
                                                  {ARPHRD_PHONET, "phonet"},
                                                  {ARPHRD_PHONET_PIPE, "phonet_pipe"},
                                                  {ARPHRD_CAIF, "caif"},
                                                  {ARPHRD_IP6GRE, "gre6"},
                                                  {ARPHRD_NETLINK, "netlink"},
                                                  {ARPHRD_6LOWPAN, "6lowpan"},
                                                  {ARPHRD_NONE, "none"},
                                                  {ARPHRD_VOID, "void"}};
  auto found = names->find(type);
  if (found != names->end()) return found->second;
  // Fibre channel fabrics are numbered from fcfb0 on.
  if (type >= ARPHRD_FCFABRIC && type <= ARPHRD_FCFABRIC + 12) return absl::StrCat("fcfb", type - ARPHRD_FCFABRIC);
  return absl::StrCat("[", type, "]");
}

std::string RouteTypeName(uint8_t type) {
  switch (type) {
    case RTN_UNSPEC: return "none";
    case RTN_UNICAST: return "unicast";
    case RTN_LOCAL: return "local";
    case RTN_BROADCAST: return "broadcast";
    case RTN_ANYCAST: return "anycast";
    case RTN_MULTICAST: return "multicast";
    case RTN_BLACKHOLE: return "blackhole";
    case RTN_UNREACHABLE: return "unreachable";
    case RTN_PROHIBIT: return "prohibit";
    case RTN_THROW: return "throw";
    case RTN_NAT: return "nat";
    case RTN_XRESOLVE: return "xresolve";
    default: return absl::StrCat(type);
  }
}

}  // namespace ipcrpc::monitor
