// A replica over a real connection: the state and the events of a collector in a namespace of its own, which ends and
// comes back, lies, or is paused; each time against what the kernel has.
#include "services/monitor/net_replica.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipcrpc/ipcrpc.h"
#include "services/monitor/collector_control_service.h"
#include "services/monitor/net_events_service.h"
#include "services/monitor/net_monitor.h"
#include "services/monitor/net_view.h"
#include "services/monitor/netns_for_test.h"
#include "services/monitor/network_for_test.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

void FailOnError(const absl::Status& status) { ADD_FAILURE() << status; }

// What a collector serves, at an address.
class Collector {
 public:
  Collector(const std::string& address, const NetMonitor::Options& options)
      : monitor_(Start(options)), control_(monitor_.get()), events_(monitor_.get()) {
    ServerBuilder builder;
    builder.AddListeningPort(address, InsecureServerCredentials());
    builder.RegisterService(&control_);
    builder.RegisterService(&events_);
    server_ = builder.BuildAndStart();
    EXPECT_NE(server_, nullptr);
  }
  // As one that was killed: connections end in the middle of calls.
  ~Collector() { server_->Shutdown(std::chrono::system_clock::now()); }
  NetMonitor& monitor() { return *monitor_; }

 private:
  static std::unique_ptr<NetMonitor> Start(const NetMonitor::Options& options) {
    auto monitor = NetMonitor::Start(options, &FailOnError);
    EXPECT_TRUE(monitor.ok()) << monitor.status();
    return *std::move(monitor);
  }

  const std::unique_ptr<NetMonitor> monitor_;
  CollectorControlService control_;
  NetEventsService events_;
  std::unique_ptr<Server> server_;
};

class NetReplicaTest : public testing::Test {
 protected:
  void SetUp() override {
    IPCRPC_NEED_NAMESPACES();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << strerror(errno);
    std::string pattern = testing::TempDir() + "ipcrpc-replica-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    address_ = "unix:" + directory_ + "/collector.sock";
  }
  void TearDown() override {
    replica_.reset();
    collector_.reset();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  void StartCollector(const NetMonitor::Options& options = {}) {
    collector_ = std::make_unique<Collector>(address_, options);
  }
  void StartReplica(const std::vector<v1::NetNs>& netns = {}) {
    auto replica = NetMonitor::Start({}, [&](NetStore* store) -> absl::StatusOr<std::unique_ptr<NetSource>> {
      return NetReplica::Open(store, {.netns = netns}, CreateChannel(address_, InsecureChannelCredentials()),
                              [this](const absl::Status& status) { status.ok() ? ++found_ : ++lost_; });
    });
    ASSERT_TRUE(replica.ok()) << replica.status();
    replica_ = *std::move(replica);
  }

  // The same objects in the same order, and the same said of them; "" or what differs.
  static std::string Unlike(NetMonitor& collector, NetMonitor& replica) {
    v1::ListReply theirs = collector.Known(), ours = replica.Known();
    theirs.clear_revision();
    ours.clear_revision();
    if (theirs.SerializeAsString() == ours.SerializeAsString()) return "";
    return absl::StrCat("collector: ", theirs.ShortDebugString(), "\nreplica: ", ours.ShortDebugString());
  }
  void ExpectLike(const char* when) {
    std::string unlike = "not compared";
    for (const auto end = steady_clock::now() + seconds(10); !unlike.empty() && steady_clock::now() < end;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      unlike = Unlike(collector_->monitor(), *replica_);
    }
    EXPECT_EQ(unlike, "") << "after " << when;
  }
  template <typename Condition>
  static bool Eventually(const Condition& condition) {
    for (const auto end = steady_clock::now() + seconds(10); steady_clock::now() < end;) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return condition();
  }
  bool Stale() { return replica_->Known().stale(); }

  std::string directory_, address_;
  std::unique_ptr<Collector> collector_;
  std::unique_ptr<NetMonitor> replica_;
  std::atomic<int> lost_{0}, found_{0};
};

// Keeps a view of a watch up to date.
class Watching {
 public:
  explicit Watching(NetMonitor& monitor) : view_(*NetView::For({})), watcher_(monitor.Watch({}).value()) {}

  // Everything that is there; adds to events().
  void Take() {
    for (;;) {
      auto event = watcher_->TryNext();
      ASSERT_TRUE(event.ok()) << event.status();
      if (*event == nullptr) return;
      const absl::Status status = view_.Apply(**event);
      ASSERT_TRUE(status.ok()) << status;
      events_.push_back(**event);
    }
  }
  // Those since the last call.
  std::vector<v1::NetEvent> events() { return std::exchange(events_, {}); }
  const NetView& view() const { return view_; }

 private:
  NetView view_;
  std::unique_ptr<NetWatcher> watcher_;
  std::vector<v1::NetEvent> events_;
};

size_t Count(const v1::ListReply& list) {
  return static_cast<size_t>(list.links_size() + list.addresses_size() + list.routes_size() + list.neighbors_size() +
                             list.rules_size());
}

TEST_F(NetReplicaTest, HasTheStateAndEveryChange) {
  BuildNetwork();
  StartCollector();
  StartReplica();
  EXPECT_EQ(Unlike(collector_->monitor(), *replica_), "");
  EXPECT_GE(replica_->Known().routes_size(), 30);
  EXPECT_FALSE(replica_->Known().has_stale());
  Watching watching(*replica_);
  for (const char* change : {
           "link set v0 mtu 1350", "link set down0 name renamed0", "addr add 10.0.0.20/24 dev v0",
           // One that changes its place.
           "route replace 192.0.2.0/24 via 10.1.0.2 metric 100", "route append 192.0.2.0/24 via 10.0.0.2 metric 100",
           "neigh del 10.0.0.4 dev v0", "rule del pref 100", "-6 route append 2001:db9::/32 via fd00::5 dev v0",
           "link set v1 down", "link del v0", "link del br0"}) {
    Ip(change);
    ExpectLike(change);
    if (HasFailure()) return;
  }
  watching.Take();
  EXPECT_EQ(watching.view().size(), Count(replica_->Known()));
  EXPECT_TRUE(watching.view().consistent());
  EXPECT_EQ(lost_, 0);
}

TEST_F(NetReplicaTest, SeveralNamespaces) {
  OtherNetns other;
  ASSERT_GT(other.pid(), 0);
  const std::string path = absl::StrCat("/proc/", other.pid(), "/ns/net");
  NetMonitor::Options options;
  options.netns = {path};
  StartCollector(options);
  StartReplica({FindNetns(path)->netns});
  Ip(absl::StrCat("link add near0 type veth peer name far0 netns ", other.pid()));
  v1::ListRequest list;
  list.set_netns(path);
  EXPECT_TRUE(Eventually([&] { return replica_->List(list)->links_size() == 2 && replica_->List({})->links_size() == 2; }));
  EXPECT_EQ(replica_->List(list)->netns().name(), path);
  v1::LinkStatsRequest stats;
  stats.set_netns(path);
  EXPECT_EQ(replica_->LinkStats(stats)->links_size(), 2);
  EXPECT_EQ(replica_->Stats().collectors_size(), 2);
  stats.set_netns("none");
  EXPECT_EQ(replica_->LinkStats(stats).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(NetReplicaTest, ACollectorThatComesBackIsADifferenceAndAStaleMark) {
  BuildNetwork();
  StartCollector();
  StartReplica();
  Watching watching(*replica_);
  watching.Take();
  watching.events();
  v1::ListRequest pages;
  pages.set_page_size(3);
  const v1::ListReply first = *replica_->List(pages);
  ASSERT_NE(first.next_page_token(), "");

  collector_.reset();
  ASSERT_TRUE(Eventually([&] { return Stale(); }));
  EXPECT_TRUE(Eventually([&] { return lost_ == 1; }));
  // What is known is still told, and marked.
  const auto list = replica_->List({});
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_TRUE(list->stale());
  EXPECT_FALSE(list->consistent());
  EXPECT_EQ(list->routes_size(), replica_->Known().routes_size());
  {
    Watching late(*replica_);
    late.Take();
    ASSERT_FALSE(late.events().empty());
    EXPECT_TRUE(late.view().stale());
  }
  watching.Take();
  auto events = watching.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].action(), v1::NetEvent::OVERRUN);
  EXPECT_TRUE(events[0].stale());
  EXPECT_EQ(events[0].missed(), 0u);
  EXPECT_TRUE(watching.view().stale());

  Ip("link add d9 type bridge");
  Ip("rule del pref 100");
  StartCollector();
  ASSERT_TRUE(Eventually([&] { return !Stale(); }));
  ExpectLike("the collector came back");
  EXPECT_TRUE(Eventually([&] { return found_ == 1; }));
  watching.Take();
  events = watching.events();
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().action(), v1::NetEvent::RESYNC);
  EXPECT_TRUE(events.back().consistent());
  EXPECT_FALSE(events.back().has_stale());
  events.pop_back();
  for (const v1::NetEvent& event : events) {
    const bool added = event.action() == v1::NetEvent::ADDED && event.link().ifname() == "d9";
    const bool removed = event.action() == v1::NetEvent::REMOVED && event.rule().priority() == 100;
    const bool changed = event.action() == v1::NetEvent::CHANGED && event.has_neighbor();  // by themselves
    EXPECT_TRUE(added || removed || changed) << event.ShortDebugString();
  }
  EXPECT_GE(events.size(), 2u);
  EXPECT_FALSE(watching.view().stale());
  EXPECT_EQ(watching.view().size(), Count(replica_->Known()));
  // A token and a revision of before hold.
  pages.set_page_token(first.next_page_token());
  const auto second = replica_->List(pages);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->revision(), first.revision());
  v1::WatchRequest since;
  since.set_since_revision(first.revision());
  EXPECT_TRUE(replica_->Watch(since).ok());
}

TEST_F(NetReplicaTest, NeighborsAreReadAnewBeforeTheyAreListed) {
  IpLines("link add v0 type veth peer name v1\n addr add 10.0.0.1/24 dev v0\n link set v0 up\n link set v1 up");
  int status;
  RunShell("echo 100 > /proc/sys/net/ipv4/neigh/v0/ucast_solicit; echo 1000 > /proc/sys/net/ipv4/neigh/v0/mcast_solicit",
           &status);
  StartCollector();
  StartReplica();
  RunShell("bash -c 'echo x > /dev/udp/10.0.0.2/9'", &status);
  v1::ListRequest request;
  request.add_kinds(v1::NetObject::NEIGHBOR);
  // That the interval has passed.
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  const auto list = replica_->List(request);
  ASSERT_TRUE(list.ok()) << list.status();
  bool found = false;
  for (const v1::Neighbor& neighbor : list->neighbors()) {
    found |= neighbor.dst() == "10.0.0.2" && neighbor.state(0) == "INCOMPLETE";
  }
  EXPECT_TRUE(found) << list->ShortDebugString();
}

TEST_F(NetReplicaTest, WhoIsPausedTakesNothingInUntilItGoesOn) {
  StartCollector();
  StartReplica();
  Watching watching(*replica_);
  ASSERT_TRUE(replica_->Configure({.paused = true}).ok());
  EXPECT_TRUE(Stale());
  EXPECT_TRUE(collector_->monitor().Known().stale());
  EXPECT_EQ(replica_->Resync().code(), absl::StatusCode::kFailedPrecondition);
  Ip("link add d9 type bridge");
  // A list with neighbours would drain the socket.
  const auto list = replica_->List({});
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_TRUE(list->stale());
  EXPECT_EQ(list->links_size(), 1);
  // The next one, too.
  collector_.reset();
  ASSERT_TRUE(Eventually([&] { return lost_ == 1; }));
  StartCollector();
  ASSERT_TRUE(Eventually([&] { return found_ == 1; }));
  EXPECT_TRUE(Stale());

  ASSERT_TRUE(replica_->Configure({}).ok());
  EXPECT_FALSE(Stale());
  EXPECT_EQ(replica_->List({})->links_size(), 2);
  EXPECT_TRUE(replica_->Resync().ok());
  watching.Take();
  EXPECT_FALSE(watching.view().stale());
  EXPECT_TRUE(watching.view().consistent());
  EXPECT_EQ(watching.view().size(), Count(replica_->Known()));
  // What comes after a pause is told as ever.
  Ip("link del d9");
  EXPECT_TRUE(Eventually([&] { return replica_->Known().links_size() == 1; }));
  EXPECT_EQ(replica_->Configure({.verify_interval = std::chrono::hours(100'000)}).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(NetReplicaTest, WithoutACollectorCallsSaySo) {
  StartCollector();
  StartReplica();
  collector_.reset();
  const auto begin = steady_clock::now();
  const auto stats = replica_->LinkStats({});
  EXPECT_EQ(stats.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(stats.status().message()), HasSubstr("collector"));
  EXPECT_LT(steady_clock::now() - begin, seconds(8));
  EXPECT_TRUE(replica_->List({}).ok());
}

TEST_F(NetReplicaTest, NobodyThereIsAnError) {
  NetStore store;
  auto replica = NetReplica::Open(&store, {.patience = std::chrono::milliseconds(200)},
                                  CreateChannel(address_, InsecureChannelCredentials()), [](const absl::Status&) {});
  EXPECT_EQ(replica.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(replica.status().message()), HasSubstr("the collector tells no state"));
}

// Of everything that a peer may say.
class Liar final : public v1::CollectorControl::Service {
 public:
  Status Follow(ServerContext*, const v1::FollowRequest*, ServerWriter<v1::FollowReply>* writer) override {
    for (const v1::FollowReply& reply : replies) writer->Write(reply);
    return Status::OK;
  }
  std::vector<v1::FollowReply> replies;
};

TEST_F(NetReplicaTest, WhatMakesNoSenseIsNotTakenIn) {
  struct stat own;
  ASSERT_EQ(stat("/proc/thread-self/ns/net", &own), 0);
  v1::FollowReply good;
  good.set_revision(5);
  good.set_state(true);
  good.add_netns()->set_inode(own.st_ino);
  good.mutable_netns(0)->set_consistent(true);
  v1::FollowChange* link = good.add_changes();
  link->set_action(v1::NetEvent::ADDED);
  link->set_key(std::string("\x01\0\0\0\0\x07", 6));
  link->mutable_object()->mutable_link()->set_ifname("x");
  v1::FollowReply change = good;
  change.set_state(false);
  std::map<std::string, std::vector<v1::FollowReply>> lies;
  lies["changes of a state"] = {change};
  auto lie = [&](const char* says, auto spoil) {
    v1::FollowReply reply = good;
    spoil(reply);
    lies[absl::StrCat(says, "#", lies.size())] = {reply};
  };
  lie("2 network namespaces", [](auto& reply) { reply.add_netns(); });
  lie("another network namespace", [](auto& reply) { reply.mutable_netns(0)->set_inode(1); });
  lie("no object", [](auto& reply) { reply.mutable_changes(0)->set_netns(1); });
  lie("no object", [](auto& reply) { reply.mutable_changes(0)->set_key(""); });
  lie("no object", [](auto& reply) { reply.mutable_changes(0)->set_key("\x02\x02x"); });
  lie("no object", [](auto& reply) { reply.mutable_changes(0)->set_key("\xff\xff"); });
  lie("no object", [](auto& reply) { reply.mutable_changes(0)->clear_object(); });
  lie("no object", [](auto& reply) { reply.mutable_changes(0)->set_action(v1::NetEvent::REMOVED); });
  for (const auto& [says, replies] : lies) {
    Liar liar;
    liar.replies = replies;
    ServerBuilder builder;
    builder.AddListeningPort(address_, InsecureServerCredentials());
    builder.RegisterService(&liar);
    const auto server = builder.BuildAndStart();
    NetStore store;
    auto replica = NetReplica::Open(&store, {.patience = std::chrono::milliseconds(500)},
                                    CreateChannel(address_, InsecureChannelCredentials()), [](const absl::Status&) {});
    EXPECT_THAT(std::string(replica.status().message()), HasSubstr(says.substr(0, says.find('#'))));
    server->Shutdown();
  }
  // After a good beginning: what is wrong makes it stale.
  v1::FollowReply back = change;
  back.set_revision(4);
  v1::FollowReply moved = change;
  moved.mutable_changes(0)->set_action(v1::NetEvent::CHANGED);
  moved.mutable_changes(0)->set_old_key("\x02\x02");
  for (const v1::FollowReply& wrong : {back, moved}) {
    Liar liar;
    liar.replies = {good, wrong};
    ServerBuilder builder;
    builder.AddListeningPort(address_, InsecureServerCredentials());
    builder.RegisterService(&liar);
    const auto server = builder.BuildAndStart();
    StartReplica();
    EXPECT_TRUE(Eventually([&] { return Stale(); }));
    EXPECT_EQ(replica_->Known().links_size(), 1);
    replica_.reset();
    server->Shutdown();
  }
}

}  // namespace
}  // namespace ipcrpc::monitor

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  ipcrpc::monitor::EnterOwnNamespaces();
  return RUN_ALL_TESTS();
}
