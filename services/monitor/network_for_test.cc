#include "services/monitor/network_for_test.h"

#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "services/monitor/iproute2_json_for_test.h"
#include "services/monitor/netns_for_test.h"

namespace ipcrpc::monitor {
namespace {

// Some kernels lack some kinds of link; that is said aloud.
bool IpIfTheKernelCan(const std::string& arguments) {
  int status = 0;
  RunShell("ip " + arguments + " 2>&1", &status);
  if (status != 0) std::cout << "[ NOT HERE ] this kernel cannot: ip " << arguments << "\n";
  return status == 0;
}

// The objects of one kind in a list, of one family if that is not empty.
std::vector<Json> Items(const Json& list, const std::string& field, const std::string& family) {
  std::vector<Json> items;
  const Json* all = list.Find(field);
  if (all == nullptr) return items;
  for (const Json& item : all->list) {
    const Json* its = item.Find("family");
    if (family.empty() || (its != nullptr && its->string == family)) items.push_back(item);
  }
  return items;
}

}  // namespace

std::string Ip(const std::string& arguments) {
  int status = 0;
  std::string output = RunShell("ip " + arguments, &status);
  EXPECT_EQ(status, 0) << "ip " << arguments << "\n" << output;
  return output;
}

void IpLines(std::string_view lines) {
  for (absl::string_view line :
       absl::StrSplit(absl::string_view(lines.data(), lines.size()), '\n', absl::SkipWhitespace()))
    Ip(std::string(line));
}

void BuildNetwork() {
  int status = 0;
  // Without duplicate address detection, addresses are final at once.
  RunShell(
      "sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; echo 0 > "
      "/proc/sys/net/ipv6/conf/all/accept_dad'",
      &status);
  EXPECT_EQ(status, 0);
  IpLines(R"(
    link set lo up
    link add br0 type bridge
    link add v0 type veth peer name v1
    link set v1 master br0
    link set v0 up
    link set v1 up
    link set br0 up
    link set v0 alias 'hello world' mtu 1400 txqueuelen 500 group 7
    link property add dev v0 altname alt0 altname alt1
    link add down0 type veth peer name down1
  )");
  IpIfTheKernelCan("link add link v0 name v0.5 type vlan id 5");
  IpIfTheKernelCan("link add mv0 link v0 type macvlan mode bridge");
  IpIfTheKernelCan("link add vx0 type vxlan id 3 dstport 4789 remote 10.0.0.3 dev v0");
  IpIfTheKernelCan("link add vx1 type vxlan id 4 dstport 4789 group 239.1.1.1 ttl 5 dev v0");
  IpIfTheKernelCan("link add vrf0 type vrf table 77");
  IpIfTheKernelCan("link add dummy0 type dummy");
  IpIfTheKernelCan("link add gre0x type gre local 10.0.0.1 remote 10.0.0.2");
  IpLines(R"(
    addr add 10.0.0.1/24 brd + dev v0 label v0:x
    addr add 10.0.0.7/24 dev v0
    addr add 10.1.0.1 peer 10.1.0.2/32 dev v0
    addr add 10.3.0.1/24 dev br0 metric 50 noprefixroute scope link
    addr add fd00::1/64 dev v0 nodad
    addr add fd00:1::1 peer fd00:1::2 dev v0
    addr add 10.2.0.1/24 dev br0 valid_lft 1000 preferred_lft 500
    addr add fd00:2::1/64 dev br0 valid_lft 1000 preferred_lft 500
  )");
  IpLines(R"(
    route add 192.0.2.0/24 via 10.0.0.2 metric 100
    route add 192.0.3.0/24 nexthop via 10.0.0.2 weight 2 nexthop via 10.1.0.2 dev v0 weight 3 onlink
    route add blackhole 192.0.4.0/24
    route add unreachable 192.0.5.0/24
    route add prohibit 192.0.5.7
    route add throw 192.0.5.8 table 99
    route add 192.0.6.0/24 dev v0 mtu lock 1400 advmss 1300 rtt 10ms rttvar 8ms rto_min 20ms window 1000
    route add 192.0.6.0/25 dev v0 initcwnd 10 initrwnd 11 quickack 1 features ecn congctl reno hoplimit 9
    route add 192.0.7.0/24 via inet6 fd00::2 dev v0
    route add default via 10.0.0.2 table 1000 proto static src 10.0.0.1
    route add 192.0.8.0/24 dev v0 tos 0x10 scope host
    route add 192.0.10.0/24 dev v0 realms 3/4 proto 77
    nexthop add id 7 via 10.0.0.2 dev v0
    nexthop add id 8 via 10.1.0.2 dev v0
    nexthop add id 9 group 7,2/8,3
    route add 192.0.9.0/24 nhid 7
    route add 192.0.11.0/24 nhid 9
    -6 route add 2001:db8::/32 via fd00::2 metric 5 pref high
    -6 route add 2001:db9::/32 nexthop via fd00::2 nexthop via fd00::3 dev v0 weight 4
    -6 route add blackhole 2001:dba::/32
    -6 route add 2001:dbb::/32 from fd00::/64 dev v0
    -6 route add 2001:dbc::/32 dev v0 expires 1000 mtu 1300
    -6 route add 2001:dbd::1 dev v0 table 77 proto ra
    -6 route add default via fd00::9
  )");
  IpLines(R"(
    neigh add 10.0.0.2 lladdr 02:00:00:00:00:01 dev v0 nud permanent
    neigh add fd00::2 lladdr 02:00:00:00:00:02 dev v0 router nud permanent
    neigh add 10.0.0.3 dev v0 nud failed
    neigh add 10.0.0.4 lladdr 02:00:00:00:00:02 dev v0 nud stale extern_learn
    neigh add fd00::4 lladdr 02:00:00:00:00:04 dev br0 nud noarp protocol zebra
    neigh add proxy 10.0.0.9 dev v0
  )");
  IpLines(R"(
    rule add from 10.0.0.0/24 to 10.1.0.0/16 table 1000 pref 100
    rule add fwmark 0x10/0xff iif v0 oif nosuch blackhole pref 101
    rule add ipproto tcp sport 10-20 dport 80 table main pref 102
    rule add not from 10.9.0.0/16 lookup 1000 suppress_prefixlength 0 pref 103
    rule add pref 104 goto 32766
    rule add pref 105 tos 0x10 tun_id 5 lookup main suppress_ifgroup default
    rule add pref 106 nop
    rule add pref 107 goto 200
    rule add pref 108 from 10.0.0.1 uidrange 0-0 realms 3/4 lookup 99 protocol static
    -6 rule add from fd00::/64 table 1000 pref 100
    -6 rule add pref 107 prohibit l3mdev
    -6 rule add pref 108 iif br0 ipproto udp dport 53 lookup local
  )");
}

std::vector<std::string> CompareListWithIp(const Json& list) {
  static constexpr struct {
    std::string_view command;
    Walk walk;
    const char* arguments;
    const char* field;
    const char* family;
  } kComparisons[] = {
      {"link", Walk::kTheirKeys, "-j link", "links", ""},
      {"link", Walk::kBothWays, "-j -d link", "links", ""},
      {"addr", Walk::kBothWays, "-j addr", "addresses", ""},
      {"route", Walk::kTheirKeys, "-j -4 route show table all", "routes", "inet"},
      {"route", Walk::kTheirKeys, "-j -6 route show table all", "routes", "inet6"},
      {"route", Walk::kTheirKeys, "-j route show table all", "routes", ""},
      {"route", Walk::kBothWays, "-j -d route show table all", "routes", ""},
      {"neigh", Walk::kBothWays, "-j neigh show nud all", "neighbors", ""},
      {"rule", Walk::kTheirKeys, "-j -4 rule", "rules", "inet"},
      {"rule", Walk::kTheirKeys, "-j -6 rule", "rules", "inet6"},
      {"rule", Walk::kBothWays, "-j -4 -d rule", "rules", "inet"},
      {"rule", Walk::kBothWays, "-j -6 -d rule", "rules", "inet6"},
  };
  std::vector<std::string> differences;
  for (const auto& comparison : kComparisons) {
    for (const std::string& line :
         CompareWithIproute2(comparison.command, comparison.walk, Ip(comparison.arguments),
                             Items(list, comparison.field, comparison.family))) {
      differences.push_back(absl::StrCat("ip ", comparison.arguments, ":\n  ", line));
    }
  }
  return differences;
}

}  // namespace ipcrpc::monitor
