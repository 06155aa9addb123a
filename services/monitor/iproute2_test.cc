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
#include "services/monitor/network_for_test.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// What `ip` says, item by item, against what the store says.
std::vector<std::string> Compare(NetCollector* collector, NetStore* store) {
  EXPECT_TRUE(collector->RefreshNeighbors().ok());
  auto reply = store->List(v1::ListRequest());
  EXPECT_TRUE(reply.ok()) << reply.status();
  return CompareListWithIp(JsonOf(*reply));
}

// The kernel goes on while `ip` and we look, so agreement is waited for; a lasting difference fails.
void ExpectAgreement(NetCollector* collector, NetStore* store, const std::string& after) {
  std::vector<std::string> differences;
  for (auto end = steady_clock::now() + milliseconds(2500); steady_clock::now() < end;) {
    differences = Compare(collector, store);
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
    ASSERT_TRUE((*collector)->Load().ok());
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
  auto monitor = NetMonitor::Start({}, &FailOn);
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
    neighbors = reply->neighbors_size();
    const Json json = JsonOf(*reply);
    const Json* list = json.Find("neighbors");
    differences = CompareWithIproute2("neigh", Walk::kBothWays, Ip("-j neigh show nud all"),
                                      list == nullptr ? std::vector<Json>() : list->list);
    if (differences.empty() && neighbors > 0) break;
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_EQ(absl::StrJoin(differences, "\n"), "");
  EXPECT_GT(neighbors, 0);
  // Lists of other kinds, and many in a row, do not read each time.
  uint64_t dumps = (*monitor)->Stats().collectors(0).dumps();
  v1::ListRequest links;
  links.add_kinds(v1::NetObject::LINK);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE((*monitor)->List(links).ok());
  EXPECT_EQ((*monitor)->Stats().collectors(0).dumps(), dumps);
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
