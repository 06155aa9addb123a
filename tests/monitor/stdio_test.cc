// The monitor without a daemon that runs already, and one that is reached through a pipe.
#include <csignal>
#include <filesystem>
#include <thread>

#include "tests/monitor/monitor_test.h"

namespace ipcrpc::e2e {
namespace {

class Stdio : public MonitorTest {
 protected:
  static std::string DaemonByExec() { return "exec:" + Built("ipcrpc-monitord") + " --stdio"; }
  static std::string ByRelay(const std::string& place) { return "exec:" + Built("ipcrpc") + " stdio " + place; }
};

bool HasLoopback(const Json& list) {
  const Json* links = list.Find("links");
  return links != nullptr && !links->list.empty() && links->list[0].Find("ifname")->string == "lo";
}

TEST_F(Stdio, ACallStartsTheDaemonThatAnswersIt) {
  EXPECT_TRUE(HasLoopback(Call(DaemonByExec(), kList)));
  EXPECT_TRUE(NamesIn(runtime_dir()).empty()) << "it publishes what nobody can ask for";
}

// It has taken standard input, and left /dev/null there.
void AwaitServing(const Process& daemon) {
  const std::filesystem::path process = "/proc/" + std::to_string(daemon.pid());
  for (int i = 0; i < 500; ++i) {
    std::error_code gone;
    if (std::filesystem::read_symlink(process / "exe", gone).filename() == "ipcrpc-monitord" &&
        std::filesystem::read_symlink(process / "fd/0", gone) == "/dev/null")
      return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  FAIL() << "it does not serve";
}

TEST_F(Stdio, TheDaemonEndsWhenItsClientHangsUp) {
  Process daemon({Built("ipcrpc-monitord"), "--stdio"});
  AwaitServing(daemon);
  EXPECT_FALSE(daemon.Wait(std::chrono::milliseconds(200)).has_value());
  daemon.CloseInput();
  EXPECT_EQ(daemon.Wait(), 0);
}

TEST_F(Stdio, ASignalEndsItToo) {
  Process daemon({Built("ipcrpc-monitord"), "--stdio"});
  AwaitServing(daemon);
  daemon.Signal(SIGTERM);
  EXPECT_EQ(daemon.Wait(), 0);
}

TEST_F(Stdio, WatchesEndWithTheirCommand) {
  auto watch = StartWatch(DaemonByExec());
  watch->Signal(SIGKILL);
  EXPECT_TRUE(watch->Wait().has_value());
}

TEST_F(Stdio, ARelayReachesADaemonByWhateverItOffers) {
  for (const char* address : {"shm:monitor", "unix:monitor"}) {
    auto daemon = StartDaemon({address});
    EXPECT_TRUE(HasLoopback(Call(ByRelay("monitor"), kList))) << address;
    EXPECT_TRUE(HasLoopback(Call(ByRelay(address), kList))) << address;
    StopDaemon(*daemon);
  }
}

TEST_F(Stdio, ARelayEndsWithEitherSide) {
  auto daemon = StartDaemon({"shm:monitor"});
  auto watch = StartWatch(ByRelay("monitor"));
  const int descriptors = SettledDescriptorsOf(daemon->pid());
  watch->Signal(SIGINT);
  EXPECT_TRUE(watch->Wait().has_value());
  for (int i = 0; i < 100 && DescriptorsOf(daemon->pid()) >= descriptors; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_LT(DescriptorsOf(daemon->pid()), descriptors) << "the relay stays connected";

  watch = StartWatch(ByRelay("monitor"));
  StopDaemon(*daemon);
  EXPECT_EQ(watch->Wait(), 64 + 14);
}

TEST_F(Stdio, ErrorsSayWhichCommandFailedAndHow) {
  const Outcome relay = Cli({"call", ByRelay("nobody"), kList});
  EXPECT_EQ(relay.code, 1);
  EXPECT_NE(relay.err.find("nobody.shm does not exist"), std::string::npos) << relay.err;
  EXPECT_NE(relay.err.find("exited with code 1"), std::string::npos) << relay.err;
  const Outcome missing = Cli({"call", "exec:no-such-daemon --stdio", kList});
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.err.find("exec: 'no-such-daemon --stdio' exited with code 127"), std::string::npos) << missing.err;
  const Outcome alone = RunProgram({Built("ipcrpc-monitord"), "--listen", "stdio:?buffer=nonsense"});
  EXPECT_EQ(alone.code, 1);
  EXPECT_NE(alone.err.find("buffer"), std::string::npos) << alone.err;
}

}  // namespace
}  // namespace ipcrpc::e2e
