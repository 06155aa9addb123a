// The monitor's snapshots, as the command-line tool prints them and as the daemon hands them out.
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "ipcrpc/ipcrpc.h"
#include "ipcrpc/monitor/v1/net_events.pb.h"
#include "ipcrpc/monitor/v1/system_status.pb.h"
#include "ipcrpc/snapshot.h"
#include "services/monitor/network_for_test.h"
#include "tests/monitor/monitor_test.h"

namespace ipcrpc::e2e {
namespace {

using monitor::Ip;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

using Snapshot = MonitorTest;

TEST_F(Snapshot, PrintsTheSameAsList) {
  monitor::BuildNetwork();
  auto daemon = StartDaemon({"shm:monitor"});
  Outcome list, snapshot;
  // At one revision, which a network that is new still changes.
  for (auto end = steady_clock::now() + milliseconds(5000); steady_clock::now() < end;) {
    list = Cli({"call", "shm:monitor", kList});
    snapshot = Cli({"snapshot", "monitor.net"});
    if (list.out == snapshot.out) break;
  }
  EXPECT_EQ(snapshot.code, 0) << snapshot.err;
  EXPECT_GT(list.out.size(), 10'000u);
  EXPECT_EQ(list.out, snapshot.out);
  StopDaemon(*daemon);
}

// As sealed memory where descriptors pass (shm:, unix:), else as the message itself.
TEST_F(Snapshot, IsHandedOutToWhoAsks) {
  auto daemon = StartDaemon({"shm:monitor", "unix:monitor", "fifo:monitor"});
  int number = 0;
  for (const char* const address : {"shm:monitor", "unix:monitor", "fifo:monitor"}) {
    SCOPED_TRACE(address);
    const auto channel = CreateChannel(address);
    SnapshotReader<monitor::v1::ListReply> net(channel, "net");
    ASSERT_NE(net.Read(), nullptr) << net.status().error_message();
    const std::string link = absl::StrCat("handed", number++);
    Ip(absl::StrCat("link add ", link, " type bridge"));
    const auto seen = [&] {
      const monitor::v1::ListReply* const now = net.Read();
      return now != nullptr && std::any_of(now->links().begin(), now->links().end(), [&](const auto& one) { return one.ifname() == link; });
    };
    const auto end = steady_clock::now() + milliseconds(5000);
    while (!seen() && net.WaitForChange(end).ok()) {
    }
    EXPECT_TRUE(seen()) << net.status().error_message();
    SnapshotReader<monitor::v1::StatusReply> system(channel, "system");
    ASSERT_NE(system.Read(), nullptr) << system.status().error_message();
    EXPECT_FALSE(system.Read()->host().hostname().empty());
  }
  StopDaemon(*daemon);
}

TEST_F(Snapshot, FollowsChangesAndLetsThemGather) {
  Ip("link set lo up");
  auto daemon = StartDaemon({"shm:monitor"});
  auto watch = StartCli({"snapshot", "--watch", "--compact", "monitor.net"});
  ASSERT_TRUE(watch->Line(Process::kOut).has_value()) << watch->rest(Process::kErr);
  Ip("link add alone0 type bridge");
  auto begin = steady_clock::now();
  ASSERT_TRUE(watch->LineWith(Process::kOut, "alone0").has_value());
  const auto alone = std::chrono::ceil<milliseconds>(steady_clock::now() - begin);
  EXPECT_LT(alone, milliseconds(100));

  constexpr int kRoutes = 2000;
  std::string batch;
  for (int i = 0; i < kRoutes; ++i)
    absl::StrAppend(&batch, "route add 10.", i / 250, ".", i % 250, ".0/24 dev lo\n");
  begin = steady_clock::now();
  Process ip({"ip", "-batch", "-"});
  ip.Tell(batch);
  ip.CloseInput();
  ASSERT_EQ(ip.Wait(), 0) << ip.rest(Process::kErr);
  int lines = 0;
  for (bool last = false; !last; ++lines) {
    const auto line = watch->Line(Process::kOut);
    ASSERT_TRUE(line.has_value()) << watch->rest(Process::kErr);
    last = line->find(R"("dst":"10.7.249.0/24")") != std::string::npos;
  }
  const auto took = steady_clock::now() - begin;
  std::cout << "one change after " << alone.count() << " ms; " << kRoutes << " in " << lines
            << " publications, " << took / milliseconds(1) << " ms\n";
  EXPECT_LE(lines, took / milliseconds(50) + 2);
  StopDaemon(*daemon);
}

TEST_F(Snapshot, OfTheStatusIsPublishedByTheClock) {
  auto daemon = StartDaemon({"unix:monitor"}, {"--snapshot-interval", "50ms"});
  auto watch = StartCli({"snapshot", "--watch", "--compact", "monitor.system"});
  const auto begin = steady_clock::now();
  for (int i = 0; i < 4; ++i) {
    const auto line = watch->LineWith(Process::kOut, R"("memory":)", milliseconds(1000));
    ASSERT_TRUE(line.has_value()) << watch->rest(Process::kErr);
  }
  EXPECT_GE(steady_clock::now() - begin, milliseconds(100));
  StopDaemon(*daemon);
}

TEST_F(Snapshot, IsNamedAfterTheFirstAddressAndReadableByAll) {
  const auto names = [this] {
    std::vector<std::string> snapshots;
    for (const std::string& name : NamesIn(runtime_dir())) {
      if (name.ends_with(".snap")) snapshots.push_back(name);
    }
    return snapshots;
  };
  auto daemon = StartDaemon({"unix:@ipcrpc-e2e", "shm:first?mode=0600", "unix:second"});
  EXPECT_EQ(names(), (std::vector<std::string>{"first.net.snap", "first.system.snap"}));
  struct stat info;
  ASSERT_EQ(stat((runtime_dir() + "/first.net.snap").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644u);
  StopDaemon(*daemon);
  EXPECT_EQ(names(), std::vector<std::string>());

  daemon = StartDaemon({"unix:" + runtime_dir() + "/socket"});
  EXPECT_EQ(names(), (std::vector<std::string>{"socket.net.snap", "socket.system.snap"}));
  StopDaemon(*daemon);
  daemon = StartDaemon({"shm:monitor"}, {"--snapshots", "mine"});
  EXPECT_EQ(names(), (std::vector<std::string>{"mine.net.snap", "mine.system.snap"}));
  StopDaemon(*daemon);
  daemon = StartDaemon({"shm:monitor"}, {"--no-snapshots"});
  EXPECT_EQ(names(), std::vector<std::string>());
  StopDaemon(*daemon);
}

}  // namespace
}  // namespace ipcrpc::e2e
