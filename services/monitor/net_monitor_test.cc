// The monitor on real namespaces: several at once, what nobody announces, buffers that are too small.
#include <errno.h>
#include <sched.h>
#include <string.h>

#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/monitor/net_monitor.h"
#include "services/monitor/netns_for_test.h"
#include "services/monitor/network_for_test.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

void FailOnError(const absl::Status& status) { ADD_FAILURE() << status; }

class NetMonitorTest : public testing::Test {
 protected:
  void SetUp() override {
    IPCRPC_NEED_NAMESPACES();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << strerror(errno);
  }
  static std::unique_ptr<NetMonitor> Start(const NetMonitor::Options& options = {}) {
    auto monitor = NetMonitor::Start(options, &FailOnError);
    EXPECT_TRUE(monitor.ok()) << monitor.status();
    return monitor.ok() ? *std::move(monitor) : nullptr;
  }
};

// The next event about a link of that name.
v1::NetEvent NextOf(NetWatcher* watcher, const std::string& ifname) {
  for (;;) {
    auto event = watcher->Next({}, steady_clock::now() + std::chrono::seconds(10));
    EXPECT_TRUE(event.ok()) << ifname << ": " << event.status();
    if (!event.ok()) return {};
    if ((*event)->link().ifname() == ifname) return **event;
  }
}

TEST_F(NetMonitorTest, SeveralNamespacesUnderOneRevision) {
  OtherNetns other;
  ASSERT_GT(other.pid(), 0);
  // Gives the other namespace a number here.
  Ip(absl::StrCat("link add near0 type veth peer name far0 netns ", other.pid()));
  const std::string path = absl::StrCat("/proc/", other.pid(), "/ns/net");
  NetMonitor::Options options;
  options.netns = {path};
  auto monitor = Start(options);
  ASSERT_NE(monitor, nullptr);
  v1::WatchRequest request;
  request.add_netns("*");
  request.add_kinds(v1::NetObject::LINK);
  auto watcher = monitor->Watch(request);
  ASSERT_TRUE(watcher.ok()) << watcher.status();
  const v1::NetEvent near = NextOf(watcher->get(), "near0");
  const v1::NetEvent far = NextOf(watcher->get(), "far0");
  EXPECT_NE(near.netns().inode(), far.netns().inode());
  EXPECT_NE(near.netns().inode(), 0u);
  EXPECT_EQ(far.netns().name(), path);
  EXPECT_FALSE(near.netns().has_nsid());
  ASSERT_TRUE(far.netns().has_nsid());
  EXPECT_EQ(far.netns().nsid(), near.link().link_netnsid());

  Ip(absl::StrCat("link add near1 type veth peer name far1 netns ", other.pid()));
  const v1::NetEvent added = NextOf(watcher->get(), "far1");
  EXPECT_EQ(added.action(), v1::NetEvent::ADDED);
  EXPECT_EQ(added.netns().inode(), far.netns().inode());
  v1::ListRequest list;
  list.set_netns(path);
  auto reply = monitor->List(list);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->links_size(), 3);
  EXPECT_EQ(reply->netns().inode(), far.netns().inode());
  list.clear_netns();
  EXPECT_EQ(monitor->List(list)->links_size(), 3);
  // What is shown without being asked for is the daemon's own.
  EXPECT_EQ(monitor->Known().netns().inode(), near.netns().inode());
}

TEST_F(NetMonitorTest, AWrongNamespaceIsAClearError) {
  const auto error = [](const std::string& name) {
    NetMonitor::Options options;
    options.netns = {name};
    auto monitor = NetMonitor::Start(options, &FailOnError);
    EXPECT_FALSE(monitor.ok());
    return std::string(monitor.status().message());
  };
  EXPECT_THAT(error("no-such-namespace"), HasSubstr("/run/netns/no-such-namespace"));
  EXPECT_THAT(error("/proc/self/ns/mnt"), HasSubstr("/proc/self/ns/mnt is no network namespace"));
  EXPECT_THAT(error("/etc/passwd"), HasSubstr("/etc/passwd is no network namespace"));
}

// A neighbour that is being asked for is not announced; only reading it tells.
TEST_F(NetMonitorTest, VerifyingFindsWhatNobodyAnnounced) {
  IpLines("link add v0 type veth peer name v1\n addr add 10.0.0.1/24 dev v0\n link set v0 up\n link set v1 up");
  int status;
  // Keeps the neighbour in that state for as long as the test may take.
  RunShell("echo 100 > /proc/sys/net/ipv4/neigh/v0/ucast_solicit; echo 1000 > /proc/sys/net/ipv4/neigh/v0/mcast_solicit",
           &status);
  NetMonitor::Options options;
  options.collector.verify_interval = milliseconds(50);
  auto monitor = Start(options);
  ASSERT_NE(monitor, nullptr);
  v1::WatchRequest request;
  request.add_kinds(v1::NetObject::NEIGHBOR);
  request.add_families("inet");
  auto watcher = monitor->Watch(request);
  ASSERT_TRUE(watcher.ok());
  RunShell("bash -c 'echo x > /dev/udp/10.0.0.2/9'", &status);
  for (;;) {
    auto event = (*watcher)->Next({}, steady_clock::now() + std::chrono::seconds(10));
    ASSERT_TRUE(event.ok()) << event.status();
    if ((*event)->action() == v1::NetEvent::ADDED && (*event)->neighbor().dst() == "10.0.0.2") {
      EXPECT_EQ((*event)->neighbor().state(0), "INCOMPLETE");
      break;
    }
  }
  EXPECT_GE(monitor->Stats().collectors(0).verifies(), 1u);
  EXPECT_GE(monitor->Stats().collectors(0).verify_found(), 1u);
}

TEST_F(NetMonitorTest, ABufferThatIsTooSmallIsAWarning) {
  NetMonitor::Options options;
  options.collector.receive_buffer_bytes = 4096;
  EXPECT_EQ(Start(options)->warning(), "");
  // More than a user namespace may force.
  options.collector.receive_buffer_bytes = 1 << 30;
  EXPECT_THAT(Start(options)->warning(), HasSubstr("not 1073741824"));
}

}  // namespace
}  // namespace ipcrpc::monitor
