#include "tests/monitor/monitor_test.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "services/monitor/netns_for_test.h"

namespace ipcrpc::e2e {
namespace {

// Why there is no /dev/shm of the test's own, or 0.
int shm_error = 0;

}  // namespace

std::string Built(const std::string& name) { return std::string(IPCRPC_BUILT_PROGRAMS) + "/" + name; }

void MonitorTest::SetUp() {
  IPCRPC_NEED_NAMESPACES();
  ASSERT_EQ(unshare(CLONE_NEWNET), 0) << strerror(errno);
  std::string pattern = testing::TempDir() + "ipcrpc-e2e-XXXXXX";
  ASSERT_NE(mkdtemp(pattern.data()), nullptr) << strerror(errno);
  runtime_dir_ = pattern;
  ASSERT_EQ(setenv("IPCRPC_RUNTIME_DIR", runtime_dir_.c_str(), 1), 0);
  unsetenv("IPCRPC_ADDRESS");
  ASSERT_EQ(shm_error, 0) << "no /dev/shm of the test's own: " << strerror(shm_error);
}

void MonitorTest::TearDown() {
  if (runtime_dir_.empty()) return;
  EXPECT_EQ(NamesIn(runtime_dir_), std::vector<std::string>());
  EXPECT_EQ(NamesIn("/dev/shm"), std::vector<std::string>());
  std::filesystem::remove_all(runtime_dir_);
}

std::unique_ptr<Process> MonitorTest::StartDaemon(const std::vector<std::string>& addresses,
                                                  const std::vector<std::string>& more) const {
  std::vector<std::string> arguments = {Built("ipcrpc-monitord")};
  for (const std::string& address : addresses) arguments.insert(arguments.end(), {"--listen", address});
  arguments.insert(arguments.end(), more.begin(), more.end());
  // In a user namespace the kernel gives no more than net.core.rmem_max, about which the daemon would warn.
  if (std::find(more.begin(), more.end(), "--netlink-buffer") == more.end()) {
    arguments.insert(arguments.end(), {"--netlink-buffer", "64KB"});
  }
  auto daemon = std::make_unique<Process>(arguments);
  for (const std::string& address : addresses) {
    EXPECT_EQ(daemon->Line(Process::kErr), "ipcrpc-monitord: listening on " + address);
  }
  return daemon;
}

pid_t MonitorTest::CollectorOf(const Process& daemon, pid_t before) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < end) {
    for (const pid_t child : ChildrenOf(daemon.pid())) {
      if (child != before) return child;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ADD_FAILURE() << "there is no collector";
  return 0;
}

void MonitorTest::Kill(pid_t pid) {
  ASSERT_GT(pid, 1);
  kill(pid, SIGKILL);
}

void MonitorTest::StopDaemon(Process& daemon) {
  daemon.Signal(SIGTERM);
  EXPECT_EQ(daemon.Wait(), 0) << daemon.rest(Process::kErr);
  EXPECT_EQ(daemon.rest(Process::kErr), "");
}

Outcome MonitorTest::Cli(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), Built("ipcrpc"));
  return RunProgram(arguments);
}

Json MonitorTest::Call(const std::string& address, const std::string& method, const std::string& request) {
  const Outcome outcome = Cli({"call", address, method, "-d", request});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const auto json = Json::Parse(outcome.out);
  EXPECT_TRUE(json.has_value()) << outcome.out;
  return json.value_or(Json());
}

std::unique_ptr<Process> MonitorTest::StartCli(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), Built("ipcrpc"));
  return std::make_unique<Process>(arguments);
}

std::unique_ptr<Process> MonitorTest::StartWatch(const std::string& address, const std::string& request) {
  auto watch = StartCli({"call", address, kWatch, "-d", request});
  EXPECT_TRUE(watch->LineWith(Process::kOut, R"("action":"BOOKMARK")").has_value())
      << watch->rest(Process::kErr);
  return watch;
}

// The machine's is used by others.
void MountOwnShm() {
  if (mount("none", "/dev/shm", "tmpfs", 0, nullptr) != 0) shm_error = errno;
}

}  // namespace ipcrpc::e2e

int main(int argc, char** argv) {
  if (ipcrpc::monitor::EnterOwnNamespaces().empty()) ipcrpc::e2e::MountOwnShm();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
