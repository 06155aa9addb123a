// A daemon with a child, as its service manager sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <iterator>
#include <string>

#include "services/child/kit_for_test.h"
#include "services/daemon/manager_for_test.h"

namespace ipcrpc::hosting {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::Optional;

class DaemonChildrenTest : public testing::Test {
 protected:
  std::unique_ptr<Hosted> Start() {
    auto daemon = manager_.Start({"unix:sensor", "--child", IPCRPC_CHILD_PROGRAM});
    manager_.Await("READY");
    return daemon;
  }
  static pid_t Child() { return std::stoi(CallBytes("unix:sensor", "/test/Child", "").text); }

  Manager manager_;
};

TEST_F(DaemonChildrenTest, TheChildIsUpWhenTheDaemonIsReadyAndEndsWithIt) {
  auto daemon = Start();
  EXPECT_THAT(daemon->Said(), HasSubstr("testd: helper is up"));
  const pid_t child = Child();
  EXPECT_TRUE(Runs(child));
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(0));
  EXPECT_THAT(daemon->Said(), HasSubstr("helper was stopped"));
  EXPECT_FALSE(Runs(child));
}

TEST_F(DaemonChildrenTest, StatusTellsOfAChildThatIsDown) {
  auto daemon = Start();
  EXPECT_EQ(manager_.Await("STATUS").at("STATUS"), "listening on unix:sensor");
  Kill(Child());
  EXPECT_EQ(manager_.Await("STATUS").at("STATUS"), "listening on unix:sensor; helper was ended by signal 9 (Killed)");
  EXPECT_EQ(manager_.Await("STATUS").at("STATUS"), "listening on unix:sensor");
  EXPECT_TRUE(daemon->Says("testd: helper was ended by signal 9 (Killed)"));
  EXPECT_TRUE(Runs(Child()));
}

TEST_F(DaemonChildrenTest, DoesNotStartWithoutItsChild) {
  auto daemon = manager_.Start({"unix:sensor", "--child", "/nonexistent/helper"});
  EXPECT_THAT(daemon->Wait(), Optional(1));
  EXPECT_THAT(daemon->Said(), HasSubstr("cannot start: helper cannot run '/nonexistent/helper': No such file or directory"));
}

TEST_F(DaemonChildrenTest, TheChildHearsNothingOfTheManager) {
  auto daemon = Start();
  std::ifstream file("/proc/" + std::to_string(Child()) + "/environ");
  const std::string environment{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(environment, HasSubstr("IPCRPC_CHILD_ADDRESS=socketpair:3"));
  EXPECT_THAT(environment, Not(HasSubstr("NOTIFY_SOCKET")));
}

// Of the same name, even: it is none of those of which there is one.
TEST_F(DaemonChildrenTest, AChildMayBeADaemonToo) {
  auto daemon = manager_.Start({"unix:sensor", "--child", IPCRPC_DAEMON_PROGRAM});
  EXPECT_EQ(manager_.Await("READY").sender, daemon->pid());
  EXPECT_TRUE(Runs(Child()));
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(0));
  EXPECT_THAT(daemon->Said(), Not(HasSubstr("warning")));
}

TEST_F(DaemonChildrenTest, TheChildEndsWithADaemonThatIsKilled) {
  auto daemon = Start();
  const pid_t child = Child();
  daemon->Signal(SIGKILL);
  EXPECT_THAT(daemon->Wait(), Optional(-SIGKILL));
  EXPECT_TRUE(Eventually([&] { return !Runs(child); }));
}

}  // namespace
}  // namespace ipcrpc::hosting
