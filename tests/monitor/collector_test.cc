// The two processes of the daemon: what the second one may do, that nobody misses it when it ends, and what an
// administrator can do about both.
#include <signal.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "services/monitor/network_for_test.h"
#include "tests/monitor/monitor_test.h"

namespace ipcrpc::e2e {
namespace {

using monitor::Ip;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

const std::string kControl = "ipcrpc.monitor.v1.MonitorControl/";

class Collector : public MonitorTest {
 protected:
  static bool Stale() {
    const Json list = Call("unix:monitor", kList);
    return list.Find("stale") != nullptr && list.Find("stale")->boolean;
  }
  static Json Control(const std::string& method, const std::string& request = "{}") {
    return Call("unix:monitor", kControl + method, request);
  }
  // Makes devices until the watch tells of one.
  static bool HearsOfDevices(Process& uevents, const std::string& name) {
    for (int i = 0; i < 50; ++i) {
      Ip(absl::StrCat("link add ", name, i, " type bridge"));
      if (uevents.LineWith(Process::kOut, absl::StrCat("\"interface\":\"", name), milliseconds(200))) return true;
    }
    return false;
  }
  // What a thread's status says.
  static std::string Field(const std::string& status, const std::string& key) {
    const size_t begin = status.find("\n" + key + ":\t");
    if (begin == std::string::npos) return "";
    const size_t value = begin + key.size() + 3;
    return status.substr(value, status.find('\n', value) - value);
  }
};

TEST_F(Collector, HasNoRightsInAnyThread) {
  auto daemon = StartDaemon({"unix:monitor"});
  // So that it has done all that it does.
  Call("unix:monitor", kList);
  Call("unix:monitor", "ipcrpc.monitor.v1.SystemStatus/Get", R"({"topProcesses": 3})");
  const std::string tasks = absl::StrCat("/proc/", CollectorOf(*daemon), "/task/");
  int threads = 0;
  for (const std::string& task : NamesIn(tasks)) {
    const std::string status = TextOf(tasks + task + "/status");
    for (const char* set : {"CapEff", "CapPrm", "CapInh", "CapAmb"}) {
      EXPECT_EQ(Field(status, set), "0000000000000000") << set << " of " << Field("\n" + status, "Name");
    }
    EXPECT_EQ(Field(status, "NoNewPrivs"), "1");
    EXPECT_EQ(Field(status, "Seccomp"), "2");
    ++threads;
  }
  EXPECT_GE(threads, 2);
  StopDaemon(*daemon);
}

TEST_F(Collector, EndsWithItsDaemonHoweverThatEnds) {
  auto daemon = StartDaemon({"unix:monitor"});
  const pid_t collector = CollectorOf(*daemon);
  ASSERT_GT(collector, 1);
  daemon->Signal(SIGKILL);
  EXPECT_EQ(daemon->Wait(), 128 + SIGKILL);
  const auto end = steady_clock::now() + milliseconds(5000);
  const std::string program = absl::StrCat("/proc/", collector, "/cmdline");
  while (!TextOf(program).empty() && steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(TextOf(program), "");
  // What it left goes with the next start.
  StopDaemon(*StartDaemon({"unix:monitor"}));
}

TEST_F(Collector, NobodyMissesOneThatIsKilled) {
  auto daemon = StartDaemon({"unix:monitor"});
  auto watch = StartWatch("unix:monitor");
  auto uevents = StartCli({"call", "unix:monitor", "ipcrpc.monitor.v1.KernelEvents/WatchUevents"});
  ASSERT_TRUE(HearsOfDevices(*uevents, "d"));
  pid_t collector = CollectorOf(*daemon);
  for (int i = 0; i < 5; ++i) {
    const std::string link = absl::StrCat("c", i);
    ASSERT_NO_FATAL_FAILURE(Kill(collector));
    const auto killed = steady_clock::now();
    EXPECT_TRUE(watch->LineWith(Process::kOut, "\"stale\":true").has_value());
    Ip(absl::StrCat("link add ", link, " type bridge"));
    // Meanwhile, and after.
    EXPECT_EQ(Cli({"call", "unix:monitor", kList}).code, 0);
    EXPECT_EQ(Cli({"call", "unix:monitor", "ipcrpc.monitor.v1.SystemStatus/Get"}).code, 0);
    // Found by comparison, or told after it.
    bool resynced = false, told = false;
    while (!resynced || !told) {
      const auto line = watch->Line(Process::kOut);
      ASSERT_TRUE(line.has_value()) << "RESYNC: " << resynced << ", the link: " << told;
      resynced |= line->find("RESYNC") != std::string::npos;
      told |= line->find(absl::StrCat("\"", link, "\"")) != std::string::npos;
    }
    const auto took = steady_clock::now() - killed;
    EXPECT_LT(took, milliseconds(2000));  // with two calls of the tool in it
    EXPECT_FALSE(Stale());
    EXPECT_TRUE(uevents->LineWith(Process::kOut, "lost").has_value());
    collector = CollectorOf(*daemon, collector);
  }
  // The watch of devices goes on.
  EXPECT_TRUE(HearsOfDevices(*uevents, "e"));
  uevents->Signal(SIGINT);
  EXPECT_TRUE(uevents->Wait().has_value());
  watch->Signal(SIGINT);
  EXPECT_TRUE(watch->Wait().has_value());
  // What it has said of it.
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(daemon->Line(Process::kErr),
              "ipcrpc-monitord: the collector is gone: child:collector was ended by signal 9 (Killed)");
    EXPECT_EQ(daemon->Line(Process::kErr), "ipcrpc-monitord: there is a collector again");
  }
  StopDaemon(*daemon);
}

TEST_F(Collector, IsPausedResumedAndRestartedByAnAdministrator) {
  auto daemon = StartDaemon({"unix:monitor"});
  const pid_t first = CollectorOf(*daemon);
  Control("Pause");
  EXPECT_TRUE(Stale());
  EXPECT_TRUE(Control("Statistics").Find("paused")->boolean);
  Ip("link add p0 type bridge");
  EXPECT_EQ(Cli({"call", "unix:monitor", kControl + "Resync"}).code, 64 + 9);
  EXPECT_EQ(Call("unix:monitor", kList).Find("links")->list.size(), 1u);
  // Paused is what its successor is, too.
  Control("RestartCollector");
  EXPECT_NE(CollectorOf(*daemon), first);
  EXPECT_TRUE(Stale());
  Control("Resume");
  EXPECT_FALSE(Stale());
  EXPECT_EQ(Call("unix:monitor", kList).Find("links")->list.size(), 2u);
  Control("Resync");

  const Json intervals = Control("SetIntervals", R"({"verifyIntervalMs": "50", "snapshotIntervalMs": "500"})");
  EXPECT_EQ(intervals.Find("verifyIntervalMs")->string, "50");
  const auto verifies = [] {
    const Json statistics = Control("Statistics");
    const Json* const count = statistics.Find("network")->Find("collectors")->list[0].Find("verifies");
    return count == nullptr ? 0 : std::stoi(count->string);
  };
  for (const auto end = steady_clock::now() + milliseconds(5000); verifies() == 0 && steady_clock::now() < end;) {
  }
  EXPECT_GE(verifies(), 1);
  EXPECT_EQ(Cli({"call", "unix:monitor", kControl + "SetIntervals", "-d", R"({"snapshotIntervalMs": "1"})"}).code, 64 + 3);
  const Json statistics = Control("Statistics");
  EXPECT_EQ(statistics.Find("collectorRestarts")->string, "1");
  EXPECT_EQ(statistics.Find("supervisor")->Find("pid")->number, daemon->pid());
  EXPECT_EQ(statistics.Find("collector")->Find("pid")->number, CollectorOf(*daemon));
  EXPECT_TRUE(daemon->LineWith(Process::kErr, "there is a collector again").has_value());
  StopDaemon(*daemon);
}

TEST_F(Collector, OneProcessIsWhatItWas) {
  auto daemon = StartDaemon({"unix:monitor"}, {"--one-process"});
  EXPECT_EQ(ChildrenOf(daemon->pid()), std::vector<pid_t>());
  EXPECT_EQ(Cli({"call", "unix:monitor", kControl + "RestartCollector"}).code, 64 + 9);
  Control("Pause");
  EXPECT_TRUE(Stale());
  Control("Resume");
  EXPECT_FALSE(Stale());
  StopDaemon(*daemon);
}

}  // namespace
}  // namespace ipcrpc::e2e
