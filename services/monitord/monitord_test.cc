// What an operator tells ipcrpc-monitord, and what it makes of that: the real program under a manager.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <thread>

#include "ipcrpc/ipcrpc.h"
#include "ipcrpc/monitor/v1/monitor_control.pb.h"
#include "ipcrpc/monitor/v1/system_status.pb.h"
#include "ipcrpc/snapshot.h"
#include "services/daemon/manager_for_test.h"

namespace ipcrpc::monitor {
namespace {

using hosting::Hosted;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::Optional;
using testing::StartsWith;

class MonitordTest : public testing::Test {
 protected:
  std::unique_ptr<Hosted> Start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), IPCRPC_MONITORD);
    return manager_.StartProgram(std::move(arguments));
  }
  // One that does not start: its line.
  std::string Refusal(std::vector<std::string> arguments) {
    auto daemon = Start(std::move(arguments));
    EXPECT_THAT(daemon->Wait(), Optional(2));
    return daemon->Said();
  }
  std::string RefusalOf(const std::string& text) {
    Write(text);
    return Refusal({"--config", file_});
  }
  void Write(const std::string& text) { std::ofstream(file_) << text; }

  hosting::Manager manager_;
  const std::string file_ = manager_.Path("conf");
};

TEST_F(MonitordTest, AnswersWhileTheLogFifoIsFull) {
  const std::string fifo = manager_.Path("log");
  mkfifo(fifo.c_str(), 0600);
  const UniqueFd reader(open(fifo.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  const std::string filler(PIPE_BUF, '.');
  while (write(reader.get(), filler.data(), filler.size()) > 0) {
  }
  Write("listen = unix:monitor\nlog-fifo = " + fifo + "\n");
  auto daemon = Start({"--config", file_});
  manager_.Await("READY");
  EXPECT_THAT(daemon->Said(), HasSubstr("listening on unix:monitor")) << "which the FIFO had no room for";
  for (int i = 0; i < 3; ++i) {
    const auto answer = hosting::CallBytes("unix:monitor", "/ipcrpc.monitor.v1.SystemStatus/Get", "");
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    v1::StatusReply reply;
    EXPECT_TRUE(reply.ParseFromString(answer.text) && !answer.text.empty());
    daemon->Signal(SIGHUP);  // has it say something
    manager_.Await("READY");
  }
  // What was there, and then how much was not.
  std::string all(1 << 20, '\0');
  all.resize(static_cast<size_t>(std::max<ssize_t>(0, read(reader.get(), all.data(), all.size()))));
  EXPECT_EQ(all.find_first_not_of('.'), std::string::npos);
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(0));
  char line[PIPE_BUF];
  const ssize_t size = read(reader.get(), line, sizeof line);
  EXPECT_THAT(std::string(line, static_cast<size_t>(std::max<ssize_t>(0, size))),
              HasSubstr(" lines were dropped here\n"));
}

TEST_F(MonitordTest, TakesTheFileWhereTheCommandLineIsSilent) {
  Write(
      "# two\nlisten = unix:a # the first\nlisten = shm:b?mode=0600\nhistory = 100\nprocess-events = "
      "false\n");
  {
    auto daemon = Start({"--config", file_});
    EXPECT_EQ(manager_.Await("READY").at("STATUS"), "listening on unix:a, shm:b?mode=0600");
  }
  auto daemon = Start({"--config", file_, "--listen", "unix:c", "--history", "5"});
  EXPECT_EQ(manager_.Await("READY").at("STATUS"), "listening on unix:c");
}

TEST_F(MonitordTest, NamesTheFileTheKeyAndWhatWouldBeRight) {
  const std::string start = "ipcrpc-monitord: " + file_ + ": ";
  EXPECT_THAT(
      RefusalOf("histroy = 5\n"),
      AllOf(StartsWith(start + "histroy: there is no such key; there are listen, "), HasSubstr(" history,")));
  EXPECT_THAT(RefusalOf("config = other\n"), StartsWith(start + "config: there is no such key"));
  EXPECT_EQ(RefusalOf("history = many\n"), start + "history: Value many not in range 1 to 10000000\n");
  EXPECT_EQ(RefusalOf("snapshot-interval = 1ms\n"), start + "snapshot-interval: expected 10ms to 1d\n");
  EXPECT_EQ(RefusalOf("verify-interval = 1x\n"),
            start + "verify-interval: x unit not recognized. Allowed values: {d,h,m,ms,s}\n");
  EXPECT_EQ(RefusalOf("process-events = maybe\n"), start + "process-events: expected true or false\n");
  EXPECT_EQ(RefusalOf("history = 5\nlisten = unix:a\nhistory = 6\n"),
            start + "history: it is there twice; its values go on lines one after another\n");
  EXPECT_EQ(RefusalOf("[net]\nhistory = 5\n"), start + "[net]: there are no sections\n");
  EXPECT_THAT(Refusal({"--config", manager_.Path("none")}),
              HasSubstr(manager_.Path("none") + " was not readable"));
  Write("history = 5\n");
  EXPECT_THAT(Refusal({"--config", file_, "--history", "0"}),
              AllOf(StartsWith("ipcrpc-monitord: --history: Value 0 not in range"), Not(HasSubstr(file_))));
}

TEST_F(MonitordTest, ReadsTheFileAgainAtSighup) {
  Write("listen = unix:monitor\nsnapshot-interval = 1d\n");
  auto daemon = Start({"--config", file_});
  manager_.Await("READY");
  SnapshotReader<v1::StatusReply> reader("monitor.system");
  ASSERT_NE(reader.Read(), nullptr) << reader.status().error_message();
  const uint64_t first = reader.revision();

  Write("listen = unix:monitor\nsnapshot-interval = 10ms\nverify-interval = 20ms\nhistory = 5\n");
  daemon->Signal(SIGHUP);
  EXPECT_EQ(manager_.Await("READY").at("STATUS"), "listening on unix:monitor");
  EXPECT_TRUE(daemon->Says(file_ + ": a change that takes a restart: history\n"));
  const auto end = std::chrono::steady_clock::now() + hosting::kPatience;
  while (reader.revision() < first + 5 && reader.WaitForChange(end).ok()) reader.Read();
  EXPECT_GE(reader.revision(), first + 5);
  const auto answer = hosting::CallBytes("unix:monitor", "/ipcrpc.monitor.v1.MonitorControl/Statistics", "");
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  v1::StatisticsReply statistics;
  ASSERT_TRUE(statistics.ParseFromString(answer.text));
  EXPECT_EQ(statistics.intervals().verify_interval_ms(), 20u);
  EXPECT_EQ(statistics.intervals().snapshot_interval_ms(), 10u);

  Write("listen = unix:monitor\nsnapshot-interval = soon\n");
  daemon->Signal(SIGHUP);
  EXPECT_THAT(manager_.Await("READY").at("STATUS"),
              HasSubstr("cannot reload: " + file_ + ": snapshot-interval: "));
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(0));
}

// As another user, of some group, with the real tool.
int CallAs(const std::string& uid, const std::string& gid, const std::string& address, const std::string& method) {
  const std::string command = "setpriv --reuid=" + uid + " --regid=" + gid + " --clear-groups " + IPCRPC_TOOL + " call '" + address +
                              "' " + method + " > /dev/null 2>&1";
  const int status = system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(MonitordTest, LetsAdministratorsAloneControlIt) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be others";
  // Where everybody comes to.
  const std::string address = "unix:@ipcrpc-monitord-test-" + std::to_string(getpid());
  const std::string statistics = "ipcrpc.monitor.v1.MonitorControl/Statistics";
  constexpr int kDenied = 64 + 7;
  auto daemon = Start({"--listen", address, "--no-snapshots", "--admin-group", "daemon"});
  manager_.Await("READY");
  EXPECT_EQ(CallAs("0", "0", address, statistics), 0);
  EXPECT_EQ(CallAs("65533", "65533", address, statistics), kDenied);
  EXPECT_EQ(CallAs("65533", "daemon", address, statistics), 0);
  EXPECT_EQ(CallAs("65533", "65533", address, "ipcrpc.monitor.v1.SystemStatus/Get"), 0);
  // What is between the processes is not for clients.
  EXPECT_EQ(CallAs("0", "0", address, "ipcrpc.monitor.v1.CollectorControl/Statistics"), 64 + 12);
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(0));

  auto refused = Start({"--listen", address, "--no-snapshots", "--admin-group", "no-such-group"});
  EXPECT_THAT(refused->Wait(), Optional(1));
  EXPECT_THAT(refused->Said(), HasSubstr("no-such-group"));
}

TEST_F(MonitordTest, CanUseTheSampleAsItIsAndWithAllThatItMentions) {
  std::ifstream sample(IPCRPC_MONITORD_DIR "/ipcrpc-monitord.conf");
  std::string text{std::istreambuf_iterator<char>(sample), {}};
  Write(text);
  {
    auto daemon = Start({"--config", file_});
    EXPECT_EQ(manager_.Await("READY").at("STATUS"), "listening on shm:monitor, unix:monitor");
  }
  // What is a comment without a blank is an option.
  std::string whole;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '#' || text[i + 1] == ' ') whole += text[i];
  }
  whole += "no-such-key = 1\n";  // so that nothing starts
  EXPECT_THAT(RefusalOf(whole), HasSubstr("no-such-key: there is no such key"));
}

TEST_F(MonitordTest, HasAManualOfEachOption) {
  const std::string refusal = RefusalOf("no-such-key = 1\n");
  std::string keys = refusal.substr(refusal.find("there are ") + std::string("there are ").size());
  keys.back() = ',';
  std::ifstream page(IPCRPC_MONITORD_DIR "/ipcrpc-monitord.8");
  const std::string manual{std::istreambuf_iterator<char>(page), {}};
  int options = 0;
  for (size_t end; (end = keys.find(',')) != std::string::npos; ++options) {
    const std::string key = keys.substr(keys.find_first_not_of(' '), end - keys.find_first_not_of(' '));
    EXPECT_TRUE(manual.find(".It Fl -" + key + "\n") != std::string::npos ||
                manual.find(".It Fl -" + key + " Ar ") != std::string::npos)
        << key;
    keys.erase(0, end + 1);
  }
  EXPECT_GT(options, 10);
}

}  // namespace
}  // namespace ipcrpc::monitor
