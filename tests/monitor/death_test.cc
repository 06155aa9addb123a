// Daemons that are killed, that are stopped, and that cannot start.
#include <signal.h>

#include <iostream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "services/monitor/network_for_test.h"
#include "tests/monitor/monitor_test.h"

namespace ipcrpc::e2e {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kUnavailable = 14;

milliseconds Since(steady_clock::time_point begin) {
  return std::chrono::ceil<milliseconds>(steady_clock::now() - begin);
}

// Waits until all its threads are in that state.
void ExpectState(pid_t pid, char state) {
  const auto end = steady_clock::now() + milliseconds(5000);
  while (StatesOf(pid) != std::set<char>{state} && steady_clock::now() < end) std::this_thread::yield();
  EXPECT_EQ(StatesOf(pid), std::set<char>{state});
}

class Death : public EachScheme {
 protected:
  // A client in the middle of a call that the daemon, which stands still, does not answer.
  std::unique_ptr<Process> StartBlocked(const Process& daemon) const {
    auto client =
        std::make_unique<Process>(std::vector<std::string>{Built("monitor_client"), "blocked", address()});
    EXPECT_EQ(client->Line(Process::kOut), "ready") << client->rest(Process::kErr);
    daemon.Signal(SIGSTOP);
    ExpectState(daemon.pid(), 'T');
    client->Tell("go on");
    EXPECT_EQ(client->Line(Process::kOut), "calling");
    // It waits once it sleeps, having published its request and spun.
    ExpectState(client->pid(), 'S');
    return client;
  }

  // What a killed daemon left goes with the next start.
  void Sweep() const { StopDaemon(*StartDaemon({address()})); }
};
INSTANTIATE_TEST_SUITE_P(, Death, testing::Values("shm", "unix"),
                         [](const auto& scheme) { return scheme.param; });

TEST_P(Death, KillDuringAUnaryCallGivesUnavailableWithin100Ms) {
  auto daemon = StartDaemon({address()});
  auto client = StartBlocked(*daemon);
  const auto killed = steady_clock::now();
  daemon->Signal(SIGKILL);
  EXPECT_EQ(client->Line(Process::kOut), std::to_string(kUnavailable));
  const auto took = Since(killed);
  std::cout << "UNAVAILABLE after " << took.count() << " ms\n";
  EXPECT_LT(took, milliseconds(100));
  EXPECT_EQ(daemon->Wait(), 128 + SIGKILL);
  client->CloseInput();
  EXPECT_EQ(client->Wait(), 0);
  Sweep();
}

TEST_P(Death, KillDuringAStreamGivesUnavailableWithin100Ms) {
  auto daemon = StartDaemon({address()});
  auto watch = StartWatch(address());
  const auto killed = steady_clock::now();
  daemon->Signal(SIGKILL);
  const auto error = watch->Line(Process::kErr);
  const auto took = Since(killed);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->find("ipcrpc: UNAVAILABLE: "), 0u) << *error;
  EXPECT_EQ(watch->Wait(), 64 + kUnavailable);
  std::cout << "UNAVAILABLE after " << took.count() << " ms\n";
  EXPECT_LT(took, milliseconds(100));
  EXPECT_EQ(daemon->Wait(), 128 + SIGKILL);
  Sweep();
}

TEST_P(Death, ANewDaemonOnTheNameStartsAtOnceWhileASurvivorLives) {
  auto killed = StartDaemon({address()});
  auto survivor = StartBlocked(*killed);
  killed->Signal(SIGKILL);
  EXPECT_EQ(killed->Wait(), 128 + SIGKILL);
  EXPECT_EQ(survivor->Line(Process::kOut), std::to_string(kUnavailable));

  const auto begin = steady_clock::now();
  auto daemon = StartDaemon({address()});
  const auto took = Since(begin);
  std::cout << "listening after " << took.count() << " ms\n";
  EXPECT_LT(took,
            milliseconds(3000));  // of which the most is the kernel's, when other namespaces come and go
  EXPECT_NE(Call(address(), kList).Find("links"), nullptr);
  survivor->CloseInput();
  EXPECT_EQ(survivor->Wait(), 0);
  StopDaemon(*daemon);
  // TearDown sees that nothing is left.
}

TEST_P(Death, KilledClientsLeaveNothingInTheDaemon) {
  auto daemon = StartDaemon({address()});
  EXPECT_NE(Call(address(), kList).Find("links"), nullptr);
  const int descriptors = SettledDescriptorsOf(daemon->pid());
  Process connections({Built("monitor_client"), "connections", address(), "50"});
  EXPECT_EQ(connections.Line(Process::kOut), "connected");
  auto watch = StartWatch(address());
  EXPECT_GT(DescriptorsOf(daemon->pid()), descriptors + 50);
  connections.Signal(SIGKILL);
  watch->Signal(SIGKILL);
  EXPECT_EQ(connections.Wait(), 128 + SIGKILL);
  EXPECT_EQ(watch->Wait(), 128 + SIGKILL);
  for (const auto end = steady_clock::now() + milliseconds(5000);
       DescriptorsOf(daemon->pid()) > descriptors;) {
    ASSERT_LT(steady_clock::now(), end) << DescriptorsOf(daemon->pid()) << ", before " << descriptors;
    std::this_thread::sleep_for(milliseconds(5));
  }
  StopDaemon(*daemon);
}

TEST_P(Death, TheNextStartOnAnyNameSweepsWhatTheDeadLeft) {
  auto killed = StartDaemon({address()});
  killed->Signal(SIGKILL);
  EXPECT_EQ(killed->Wait(), 128 + SIGKILL);
  EXPECT_FALSE(NamesIn(runtime_dir()).empty());
  auto other = StartDaemon({std::string(GetParam()) + ":other"});
  for (const std::string& name : NamesIn(runtime_dir())) EXPECT_EQ(name.find("other."), 0u) << name;
  StopDaemon(*other);
}

TEST_P(Death, StopWithWatchersConnectedIsCleanAndTellsThem) {
  auto daemon = StartDaemon({address()});
  std::vector<std::unique_ptr<Process>> watches;
  for (int i = 0; i < 5; ++i) watches.push_back(StartWatch(address()));
  watches.push_back(
      StartCli({"call", address(), "ipcrpc.monitor.v1.SystemStatus/Watch", "-d", R"({"interval":"3600s"})"}));
  EXPECT_TRUE(watches.back()->Line(Process::kOut).has_value());
  const auto begin = steady_clock::now();
  StopDaemon(*daemon);
  const auto took = Since(begin);
  std::cout << "stopped after " << took.count() << " ms\n";
  EXPECT_LT(took, milliseconds(3000));
  for (auto& watch : watches) {
    EXPECT_EQ(watch->Wait(), 64 + kUnavailable);
    EXPECT_EQ(watch->rest(Process::kErr), "ipcrpc: UNAVAILABLE: the monitor is shutting down\n");
  }
}

// A client that reads nothing must not hold up the end.
TEST_P(Death, StopIsNotHeldUpByAWatcherThatStandsStill) {
  auto daemon = StartDaemon({address()});
  auto watch = StartWatch(address());
  watch->Signal(SIGSTOP);
  // More than any buffer between holds.
  monitor::Ip("link set lo up");
  std::string batch;
  for (int i = 0; i < 5000; ++i)
    absl::StrAppend(&batch, "route add 10.", i / 250, ".", i % 250, ".0/24 dev lo\n");
  {
    Process ip({"ip", "-batch", "-"});
    ip.Tell(batch);
    ip.CloseInput();
    EXPECT_EQ(ip.Wait(), 0) << ip.rest(Process::kErr);
  }
  const auto begin = steady_clock::now();
  StopDaemon(*daemon);
  std::cout << "stopped after " << Since(begin).count() << " ms\n";
  EXPECT_LT(Since(begin), milliseconds(3000));
  watch->Signal(SIGCONT);
  EXPECT_EQ(watch->Wait(), 64 + kUnavailable);
}

using Start = MonitorTest;

TEST_F(Start, SeveralAddressesAtOnce) {
  const std::vector<std::string> addresses = {"shm:monitor", "unix:monitor", "shm:second",
                                              "unix:" + runtime_dir() + "/by-path", "unix:@ipcrpc-e2e"};
  auto daemon = StartDaemon(addresses);
  for (const std::string& address : addresses) {
    SCOPED_TRACE(address);
    EXPECT_NE(Call(address, kList, R"({"kinds":["LINK"]})").Find("links"), nullptr);
    EXPECT_NE(Call(address, "ipcrpc.monitor.v1.SystemStatus/Get").Find("memory"), nullptr);
  }
  EXPECT_EQ(Cli({"list", "monitor"}).code, 0);  // a bare name: whichever answers
  StopDaemon(*daemon);
}

// One line, and no success.
void ExpectRefusal(const std::vector<std::string>& arguments, int code, const std::string& text) {
  std::vector<std::string> command = {Built("ipcrpc-monitord")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const Outcome outcome = RunProgram(command);
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err.find("ipcrpc-monitord: "), 0u) << outcome.err;
  EXPECT_NE(outcome.err.find(text), std::string::npos) << outcome.err << "lacks: " << text;
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
}

TEST_F(Start, WrongAddressIsOneLine) {
  ExpectRefusal({"--listen", "shn:monitor"}, 1, "did you mean 'shm'?");
  ExpectRefusal({"--listen", "unix:monitor?mod=0600"}, 1, "did you mean 'mode'?");
  ExpectRefusal({"--listen", "unix:monitor?mode=rw"}, 1, "mode");
  ExpectRefusal({"--listen", "shm:"}, 1, "shm:");
  ExpectRefusal({"--listen", "unix:/no/such/directory/socket"}, 1, "/no/such/directory");
  // The good one of two is not left behind.
  ExpectRefusal({"--listen", "shm:monitor", "--listen", "unix:/no/such/directory/socket"}, 1,
                "/no/such/directory");
}

TEST_F(Start, WrongOptionIsOneLine) {
  ExpectRefusal({"--lisen", "shm:monitor"}, 2, "--lisen");
  ExpectRefusal({"--snapshot-interval", "5"}, 2, "--snapshot-interval");
  ExpectRefusal({"--snapshot-interval", "1ms"}, 2, "10ms to 1d");
  ExpectRefusal({"--runtime-dir", "relative"}, 1, "relative");
}

TEST_F(Start, TakenNameIsOneLineThatSaysByWhom) {
  auto daemon = StartDaemon({"shm:monitor"});
  ExpectRefusal({"--listen", "shm:monitor"}, 1, absl::StrCat("pid ", daemon->pid(), " (ipcrpc-monitord)"));
  ExpectRefusal({"--listen", "unix:monitor"}, 1, absl::StrCat("pid ", daemon->pid(), " (ipcrpc-monitord)"));
  EXPECT_NE(Call("shm:monitor", kList).Find("links"), nullptr);
  StopDaemon(*daemon);
}

}  // namespace
}  // namespace ipcrpc::e2e
