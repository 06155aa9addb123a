// Our lists against iproute2's, in a network namespace of the test's own: at once, after every kind of
// change, and after lost notifications.

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>

#include <chrono>
#include <iostream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/monitor/iproute2_json_for_test.h"
#include "services/monitor/net_collector.h"
#include "services/monitor/net_monitor.h"
#include "services/monitor/netns_for_test.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string Ip(const std::string& arguments) {
  int status = 0;
  std::string output = RunShell("ip " + arguments, &status);
  EXPECT_EQ(status, 0) << "ip " << arguments << "\n" << output;
  return output;
}

// Some kernels lack some kinds of link; that is said aloud.
bool IpIfTheKernelCan(const std::string& arguments) {
  int status = 0;
  RunShell("ip " + arguments + " 2>&1", &status);
  if (status != 0) std::cout << "[ NOT HERE ] this kernel cannot: ip " << arguments << "\n";
  return status == 0;
}

void IpLines(absl::string_view lines) {
  for (absl::string_view line : absl::StrSplit(lines, '\n', absl::SkipWhitespace())) Ip(std::string(line));
}

// Links of several kinds, addresses, routes, neighbours and rules of both families.
void BuildNetwork() {
  int status = 0;
  // Without duplicate address detection, addresses are final at once.
  RunShell("sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad'",
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

// What `ip` says, item by item, against what the store says.
class Comparison {
 public:
  Comparison(NetCollector* collector, NetStore* store) : collector_(collector), store_(store) {}

  std::vector<std::string> Run() {
    EXPECT_TRUE(collector_->RefreshNeighbors().ok());
    auto reply = store_->List(v1::ListRequest());
    EXPECT_TRUE(reply.ok()) << reply.status();
    reply_ = *reply;
    differences_.clear();
    Compare("link", Walk::kTheirKeys, "-j link", reply_.links(), "");
    Compare("link", Walk::kBothWays, "-j -d link", reply_.links(), "");
    Compare("addr", Walk::kBothWays, "-j addr", reply_.addresses(), "");
    Compare("route", Walk::kTheirKeys, "-j -4 route show table all", reply_.routes(), "inet");
    Compare("route", Walk::kTheirKeys, "-j -6 route show table all", reply_.routes(), "inet6");
    Compare("route", Walk::kTheirKeys, "-j route show table all", reply_.routes(), "");
    Compare("route", Walk::kBothWays, "-j -d route show table all", reply_.routes(), "");
    Compare("neigh", Walk::kBothWays, "-j neigh show nud all", reply_.neighbors(), "");
    Compare("rule", Walk::kTheirKeys, "-j -4 rule", reply_.rules(), "inet");
    Compare("rule", Walk::kTheirKeys, "-j -6 rule", reply_.rules(), "inet6");
    Compare("rule", Walk::kBothWays, "-j -4 -d rule", reply_.rules(), "inet");
    Compare("rule", Walk::kBothWays, "-j -6 -d rule", reply_.rules(), "inet6");
    return differences_;
  }

  const v1::ListReply& reply() const { return reply_; }

 private:
  template <typename Messages>
  void Compare(std::string_view command, Walk walk, const std::string& arguments, const Messages& messages,
               const std::string& family) {
    std::vector<const google::protobuf::Message*> ours;
    for (const auto& message : messages) {
      const auto* field = message.GetDescriptor()->FindFieldByName("family");
      if (family.empty() || message.GetReflection()->GetString(message, field) == family) ours.push_back(&message);
    }
    for (const std::string& line : CompareWithIproute2(command, walk, Ip(arguments), ours)) {
      differences_.push_back(absl::StrCat("ip ", arguments, ":\n  ", line));
    }
  }

  NetCollector* const collector_;
  NetStore* const store_;
  v1::ListReply reply_;
  std::vector<std::string> differences_;
};

// The kernel goes on while `ip` and we look, so agreement is waited for; a lasting difference fails.
void ExpectAgreement(NetCollector* collector, NetStore* store, const std::string& after) {
  Comparison comparison(collector, store);
  std::vector<std::string> differences;
  for (auto end = steady_clock::now() + milliseconds(2500); steady_clock::now() < end;) {
    differences = comparison.Run();
    if (differences.empty()) return;
    std::this_thread::sleep_for(milliseconds(50));
  }
  ADD_FAILURE() << "after " << after << ":\n" << absl::StrJoin(differences, "\n");
}

void FailOn(const absl::Status& status) { ADD_FAILURE() << status; }

// Each test begins with a network of its own that has lo alone.
class Iproute2Test : public testing::Test {
 protected:
  void SetUp() override {
    IPCRPC_NEED_NAMESPACES();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << strerror(errno);
    store_ = std::make_unique<NetStore>();
  }

  void Open(NetCollector::Options options = NetCollector::Options()) {
    auto collector = NetCollector::Open(store_.get(), NameTables::Load(), options);
    ASSERT_TRUE(collector.ok()) << collector.status();
    collector_ = std::move(*collector);
  }
  void OpenAndRun() {
    Open();
    thread_ = std::make_unique<NetCollectorThread>(collector_.get(), &FailOn);
  }

  std::unique_ptr<NetStore> store_;
  std::unique_ptr<NetCollector> collector_;
  std::unique_ptr<NetCollectorThread> thread_;
};

TEST_F(Iproute2Test, ListAgreesItemByItem) {
  BuildNetwork();
  OtherNetns other;
  ASSERT_GT(other.pid(), 0);
  IpLines(absl::StrCat("link add far0 type veth peer name far1 netns ", other.pid()));
  OpenAndRun();
  ExpectAgreement(collector_.get(), store_.get(), "building the network");

  auto reply = store_->List(v1::ListRequest());
  ASSERT_TRUE(reply.ok());
  // That there was something to compare.
  EXPECT_GE(reply->links_size(), 7);
  EXPECT_GE(reply->addresses_size(), 10);
  EXPECT_GE(reply->routes_size(), 30);
  EXPECT_GE(reply->neighbors_size(), 5);
  EXPECT_GE(reply->rules_size(), 15);
  EXPECT_EQ(collector_->stats().malformed, 0);
}

TEST_F(Iproute2Test, EventsKeepTheListInAgreement) {
  OpenAndRun();
  ExpectAgreement(collector_.get(), store_.get(), "the start");
  BuildNetwork();
  ExpectAgreement(collector_.get(), store_.get(), "building the network");
  for (const char* change : {
           // Changes that the kernel announces whole.
           "link set v0 mtu 1350", "link set v0 alias other", "link set down0 name renamed0",
           "addr add 10.0.0.20/24 dev v0", "addr change 10.2.0.1/24 dev br0 valid_lft forever preferred_lft forever",
           "route replace 192.0.2.0/24 via 10.1.0.2 metric 100", "route append 192.0.2.0/24 via 10.0.0.2 metric 100",
           "route change 192.0.6.0/24 dev v0 mtu 1200", "neigh change 10.0.0.2 lladdr 02:00:00:00:00:77 dev v0",
           "neigh del 10.0.0.4 dev v0", "rule del pref 100", "rule add pref 200 lookup 99",
           // Announced in parts: ways of one IPv6 route.
           "-6 route append 2001:db9::/32 via fd00::5 dev v0", "-6 route del 2001:db9::/32 via fd00::2 dev v0",
           "-6 route replace 2001:db8::/32 via fd00::7 metric 5", "-6 route add 2001:db8::/32 dev v0 metric 6",
           // Announced for another kind of object.
           "nexthop replace id 7 via 10.0.0.99 dev v0", "nexthop del id 8", "link set v0 name w0",
           "link set v1 nomaster", "link set v1 master br0", "link set br0 type bridge stp_state 1",
           // Not announced: routes of a link that goes down, or whose source address is gone.
           "addr del 10.0.0.1/24 dev w0", "link set v1 down", "link set v1 up", "link set w0 down", "link set w0 up",
           "rule del pref 200", "link del w0", "link del br0"}) {
    Ip(change);
    ExpectAgreement(collector_.get(), store_.get(), change);
    if (HasFailure()) return;
  }
  EXPECT_EQ(collector_->stats().overruns, 0);
  EXPECT_EQ(collector_->stats().malformed, 0);
}

// Some steps of neighbours are not announced: the monitor's lists have them all the same.
TEST_F(Iproute2Test, TheMonitorListsNeighborsAsTheyAre) {
  auto monitor = NetMonitor::Start(&FailOn);
  ASSERT_TRUE(monitor.ok()) << monitor.status();
  IpLines(R"(
    link add v0 type veth peer name v1
    addr add 10.0.0.1/24 dev v0
    link set v0 up
    link set v1 up
  )");
  int status;
  // Nobody answers: INCOMPLETE, then FAILED.
  RunShell("bash -c 'echo x > /dev/udp/10.0.0.2/9'", &status);
  std::vector<std::string> differences;
  int neighbors = 0;
  for (auto end = steady_clock::now() + milliseconds(2500); steady_clock::now() < end;) {
    v1::ListRequest request;
    request.add_kinds(v1::NetObject::NEIGHBOR);
    auto reply = (*monitor)->List(request);
    ASSERT_TRUE(reply.ok()) << reply.status();
    std::vector<const google::protobuf::Message*> ours;
    for (const v1::Neighbor& neighbor : reply->neighbors()) ours.push_back(&neighbor);
    neighbors = reply->neighbors_size();
    differences = CompareWithIproute2("neigh", Walk::kBothWays, Ip("-j neigh show nud all"), ours);
    if (differences.empty() && neighbors > 0) break;
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_EQ(absl::StrJoin(differences, "\n"), "");
  EXPECT_GT(neighbors, 0);
  // Lists of other kinds, and many in a row, do not read each time.
  uint64_t dumps = (*monitor)->stats().dumps;
  v1::ListRequest links;
  links.add_kinds(v1::NetObject::LINK);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE((*monitor)->List(links).ok());
  EXPECT_EQ((*monitor)->stats().dumps, dumps);
  auto watcher = (*monitor)->Watch({});
  ASSERT_TRUE(watcher.ok());
  (*monitor)->Shutdown();
  EXPECT_EQ((*watcher)->TryNext().status().code(), absl::StatusCode::kUnavailable);
}

// Announced for something else than the link that changes by it.
TEST_F(Iproute2Test, ChangesOfALinkThatNoMessageAboutItTells) {
  OpenAndRun();
  OtherNetns other;
  ASSERT_GT(other.pid(), 0);
  IpLines("link add v0 type veth peer name v1\n link set v0 up");
  ExpectAgreement(collector_.get(), store_.get(), "making a pair");
  int status = 0;
  RunShell("tc qdisc replace dev v0 root pfifo limit 5", &status);
  ASSERT_EQ(status, 0);
  ExpectAgreement(collector_.get(), store_.get(), "another queueing discipline");
  EXPECT_GE(collector_->stats().gets, 1);
  Ip(absl::StrCat("link set v1 netns ", other.pid()));
  ExpectAgreement(collector_.get(), store_.get(), "the peer going to another namespace");
}

TEST_F(Iproute2Test, LinkAddIsAnEventInUnder100Ms) {
  OpenAndRun();
  v1::WatchRequest request;
  request.set_since_revision(store_->revision());
  request.add_kinds(v1::NetObject::LINK);
  auto watcher = store_->Watch(request);
  ASSERT_TRUE(watcher.ok()) << watcher.status();
  for (int i = 0; i < 5; ++i) {
    std::string name = absl::StrCat("new", i);
    Ip(absl::StrCat("link add ", name, " type bridge"));
    auto added = steady_clock::now();
    for (;;) {
      auto event = (*watcher)->Next({}, added + milliseconds(100));
      ASSERT_TRUE(event.ok()) << name << ": " << event.status();
      if ((*event)->action() == v1::NetEvent::ADDED && (*event)->link().ifname() == name) break;
    }
  }
}

TEST_F(Iproute2Test, IdleMakesNoDump) {
  BuildNetwork();
  OpenAndRun();
  v1::WatchRequest request;
  auto watcher = store_->Watch(request);
  ASSERT_TRUE(watcher.ok());
  // Until the network has come to rest: nothing for half a second.
  while ((*watcher)->Next({}, steady_clock::now() + milliseconds(500)).ok()) continue;
  NetCollector::Stats before = collector_->stats();
  auto event = (*watcher)->Next({}, steady_clock::now() + milliseconds(500));
  NetCollector::Stats after = collector_->stats();
  if (event.ok()) GTEST_SKIP() << "the network did not rest: " << (*event)->ShortDebugString();
  EXPECT_EQ(after.dumps, before.dumps);
  EXPECT_EQ(after.gets, before.gets);
}

TEST_F(Iproute2Test, EventBringsNoDumpByItself) {
  OpenAndRun();
  uint64_t dumps = collector_->stats().dumps;
  v1::WatchRequest request;
  request.set_since_revision(store_->revision());
  auto watcher = store_->Watch(request);
  ASSERT_TRUE(watcher.ok());
  Ip("link add br0 type bridge");
  Ip("rule add pref 100 lookup 99");
  for (;;) {
    auto event = (*watcher)->Next({}, steady_clock::now() + milliseconds(1000));
    ASSERT_TRUE(event.ok()) << event.status();
    if ((*event)->rule().priority() == 100) break;
  }
  EXPECT_EQ(collector_->stats().dumps, dumps);
}

TEST_F(Iproute2Test, LostNotificationsAreToldAndMadeGood) {
  // As little as the kernel lets a socket have, and nobody who reads.
  NetCollector::Options options;
  options.receive_buffer_bytes = 1;
  Ip("link add gone0 type bridge");
  Open(options);
  v1::WatchRequest request;
  request.set_since_revision(store_->revision());
  auto watcher = store_->Watch(request);
  ASSERT_TRUE(watcher.ok());
  Ip("link del gone0");
  for (int i = 0; i < 20; ++i) Ip(absl::StrCat("link add new", i, " type bridge"));
  pollfd ready{collector_->fd(), POLLIN, 0};
  while (poll(&ready, 1, 200) > 0) ASSERT_TRUE(collector_->Step().ok());

  std::vector<std::string> actions;
  int added = 0, removed = 0;
  bool in_gap = false;
  for (;;) {
    auto event = (*watcher)->TryNext();
    ASSERT_TRUE(event.ok()) << event.status();
    if (*event == nullptr) break;
    const v1::NetEvent& e = **event;
    if (e.action() == v1::NetEvent::OVERRUN) in_gap = true;
    if (e.action() == v1::NetEvent::RESYNC) {
      EXPECT_TRUE(in_gap);
      in_gap = false;
      actions.push_back("RESYNC");
    }
    added += e.action() == v1::NetEvent::ADDED && e.has_link();
    removed += e.action() == v1::NetEvent::REMOVED && e.link().ifname() == "gone0";
  }
  EXPECT_FALSE(in_gap);
  EXPECT_FALSE(actions.empty());
  EXPECT_EQ(added, 20);
  EXPECT_EQ(removed, 1);
  EXPECT_GE(collector_->stats().overruns, 1);
  ExpectAgreement(collector_.get(), store_.get(), "lost notifications");
}

}  // namespace
}  // namespace ipcrpc::monitor

int main(int argc, char** argv) {
  ipcrpc::monitor::EnterOwnNamespaces();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
