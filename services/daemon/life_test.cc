// A daemon's life as its service manager sees it, in a process of its own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>
#include <vector>

#include "ipcrpc/ipcrpc.h"
#include "services/daemon/manager_for_test.h"

namespace ipcrpc::hosting {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::Optional;
using testing::StartsWith;

class DaemonTest : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) { std::ofstream(manager_.Path(name)) << text; }
  // A FIFO whose reader waits until Release().
  std::string Fifo(const std::string& name) {
    mkfifo(manager_.Path(name).c_str(), 0600);
    return manager_.Path(name);
  }
  // Once somebody waits there.
  static void Release(const std::string& fifo) { UniqueFd(open(fifo.c_str(), O_WRONLY | O_CLOEXEC)); }

  Manager manager_;
};

TEST_F(DaemonTest, IsReadyWhenItServes) {
  auto daemon = manager_.Start({"shm:sensor?mode=0600", "unix:sensor"});
  const Notification ready = manager_.Await("READY");
  EXPECT_EQ(ready.at("STATUS"), "listening on shm:sensor?mode=0600, unix:sensor");
  EXPECT_EQ(ready.at("MAINPID"), std::to_string(daemon->pid()));
  for (const std::string address : {"shm:sensor", "unix:sensor"}) {
    EXPECT_EQ(CallBytes(address, "/test/Echo", "21.5").text, "21.5");
    EXPECT_EQ(HealthAt(address), "SERVING");
  }
  // Reflection is a stream: what counts is that the method is there.
  EXPECT_NE(CallBytes("unix:sensor", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "").text,
            "");
}

TEST_F(DaemonTest, EndsAtSigtermAndSigint) {
  for (const int signal : {SIGTERM, SIGINT}) {
    auto daemon = manager_.Start({"unix:sensor"});
    manager_.Await("READY");
    daemon->Signal(signal);
    manager_.Await("STOPPING");
    EXPECT_THAT(daemon->Wait(), Optional(0));
    EXPECT_TRUE(manager_.directory().empty()) << "something is left behind";
  }
}

TEST_F(DaemonTest, IsNotHealthyWhileItStopsAndServesUntilOnStopReturns) {
  const std::string fifo = Fifo("stop");
  auto daemon = manager_.Start({"unix:sensor", "--stop-waits-for", fifo});
  manager_.Await("READY");
  EXPECT_EQ(HealthAt("unix:sensor"), "SERVING");
  daemon->Signal(SIGTERM);
  manager_.Await("STOPPING");
  // Health is told after the manager.
  while (HealthAt("unix:sensor") == "SERVING") std::this_thread::yield();
  EXPECT_EQ(HealthAt("unix:sensor"), "NOT_SERVING");
  EXPECT_EQ(CallBytes("unix:sensor", "/test/Echo", "1").text, "1");
  Release(fifo);
  EXPECT_THAT(daemon->Wait(), Optional(0));
}

TEST_F(DaemonTest, LetsCallsEndByThemselves) {
  auto daemon = manager_.Start({"unix:sensor", "--close"});
  manager_.Await("READY");
  OpenCall call(CreateChannel("unix:sensor"), "/test/Wait", "");
  ASSERT_TRUE(CallBytes("unix:sensor", "/test/Echo", "1").status.ok());
  const std::string fifo = Fifo("busy");
  OpenCall busy(CreateChannel("unix:sensor"), "/test/Block", fifo);
  Release(fifo);  // so the call has begun
  EXPECT_EQ(busy.End().text, fifo);
  daemon->Signal(SIGTERM);
  EXPECT_EQ(call.End().status.error_message(), "OnStop");
  EXPECT_THAT(daemon->Wait(), Optional(0));
}

TEST_F(DaemonTest, CancelsCallsThatOutlastTheDrain) {
  auto daemon = manager_.Start({"unix:sensor", "--drain-ms", "100"});
  manager_.Await("READY");
  const auto channel = CreateChannel("unix:sensor");
  OpenCall call(channel, "/test/Wait", "");
  ASSERT_TRUE(
      OpenCall(channel, "/test/Echo", "1").End().status.ok());  // behind the other, on the same connection
  daemon->Signal(SIGTERM);
  EXPECT_FALSE(call.End().status.ok());
  EXPECT_THAT(daemon->Wait(), Optional(0));
}

TEST_F(DaemonTest, CancelsCallsAtASecondSignal) {
  auto daemon = manager_.Start({"unix:sensor", "--drain-ms", "600000"});
  manager_.Await("READY");
  const auto channel = CreateChannel("unix:sensor");
  OpenCall call(channel, "/test/Wait", "");
  ASSERT_TRUE(OpenCall(channel, "/test/Echo", "1").End().status.ok());
  daemon->Signal(SIGTERM);
  manager_.Await("STOPPING");
  daemon->Signal(SIGINT);
  EXPECT_FALSE(call.End().status.ok());
  EXPECT_THAT(daemon->Wait(), Optional(0));
}

TEST_F(DaemonTest, DiesOfAThirdSignalWhenACallNeverEnds) {
  auto daemon = manager_.Start({"unix:sensor", "--drain-ms", "600000"});
  manager_.Await("READY");
  const std::string fifo = Fifo("never");
  const auto channel = CreateChannel("unix:sensor");
  OpenCall call(channel, "/test/Echo", "1");
  ASSERT_TRUE(call.End().status.ok());
  OpenCall never(channel, "/test/Block", fifo);
  // The connection is served by another thread once the first one is stuck, so the call has begun.
  ASSERT_TRUE(OpenCall(channel, "/test/Echo", "1").End().status.ok());
  daemon->Signal(SIGTERM);
  manager_.Await("STOPPING");
  daemon->Signal(SIGTERM);
  ASSERT_TRUE(daemon->Says("one more signal kills"));
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(-SIGTERM));
}

TEST_F(DaemonTest, ReloadsAtSighupAndGoesOnWhenThatFails) {
  Write("config", "good");
  auto daemon = manager_.Start({"unix:sensor", "--config", manager_.Path("config")});
  manager_.Await("READY");
  daemon->Signal(SIGHUP);
  EXPECT_TRUE(manager_.Await("RELOADING").has("MONOTONIC_USEC"));
  EXPECT_EQ(manager_.Await("READY").at("STATUS"), "listening on unix:sensor");
  Write("config", "no such sensor");
  daemon->Signal(SIGHUP);
  manager_.Await("RELOADING");
  const std::string trouble = "cannot reload: " + manager_.Path("config") + ": no such sensor";
  EXPECT_EQ(manager_.Await("READY").at("STATUS"), "listening on unix:sensor; " + trouble);
  EXPECT_THAT(daemon->Said(), HasSubstr("testd: " + trouble + "\n"));
  EXPECT_EQ(HealthAt("unix:sensor"), "SERVING");
}

TEST_F(DaemonTest, EndsAtSighupWhenThereIsNothingToReload) {
  auto daemon = manager_.Start({"unix:sensor"});
  manager_.Await("READY");
  daemon->Signal(SIGHUP);
  manager_.Await("STOPPING");
  EXPECT_THAT(daemon->Wait(), Optional(0));
}

TEST_F(DaemonTest, SaysWhyItCannotStart) {
  auto first = manager_.Start({"unix:sensor"});
  manager_.Await("READY");
  auto second = manager_.Start({"unix:sensor", "--many"});
  const std::string status = manager_.Await("STATUS").at("STATUS");
  EXPECT_THAT(status, StartsWith("cannot start: cannot listen on unix:sensor: "));
  EXPECT_THAT(status, HasSubstr("pid " + std::to_string(first->pid())));
  EXPECT_THAT(second->Wait(), Optional(1));
  EXPECT_EQ(second->Said(), "testd: " + status + "\n");
  EXPECT_EQ(HealthAt("unix:sensor"), "SERVING") << "of the first";
}

TEST_F(DaemonTest, IsTheOnlyOneOfItsName) {
  auto first = manager_.Start({"unix:sensor"});
  manager_.Await("READY");
  auto second = manager_.Start({"unix:other"});
  EXPECT_THAT(manager_.Await("STATUS").at("STATUS"),
              testing::AllOf(StartsWith("cannot start: not as the one testd: "),
                             HasSubstr("pid " + std::to_string(first->pid()))));
  EXPECT_THAT(second->Wait(), Optional(1));
  // Another name, or who does not mind.
  auto namesake = manager_.Start({"unix:other", "--many"});
  manager_.Await("READY");
  auto other = manager_.Start({"unix:third"},
                              {.environment = {{"DAEMON_NAME", "otherd"}}, .sockets = {}, .journal = false});
  manager_.Await("READY");
  // The lock goes with its holder, however that ends.
  first->Signal(SIGKILL);
  EXPECT_THAT(first->Wait(), Optional(-SIGKILL));
  auto third = manager_.Start({"unix:sensor"});
  EXPECT_EQ(manager_.Await("READY").at("MAINPID"), std::to_string(third->pid()));
}

TEST_F(DaemonTest, HoldsItsNameAlsoAsOneOfItsAddresses) {
  for (const std::string address : {"shm:testd?mode=0600", "unix:testd"}) {
    auto first = manager_.Start({address});
    manager_.Await("READY");
    auto second = manager_.Start({"unix:sensor"});
    EXPECT_THAT(manager_.Await("STATUS").at("STATUS"), StartsWith("cannot start: not as the one testd: "));
    EXPECT_THAT(second->Wait(), Optional(1));
    first->Signal(SIGTERM);
    EXPECT_THAT(first->Wait(), Optional(0));
    manager_.Await("STOPPING");
  }
}

TEST_F(DaemonTest, StartsOnlyWhenItsOwnStartSucceeds) {
  Write("config", "unreadable");
  auto daemon = manager_.Start({"unix:sensor", "--must-load", manager_.Path("config")});
  EXPECT_EQ(manager_.Await("STATUS").at("STATUS"),
            "cannot start: " + manager_.Path("config") + ": unreadable");
  EXPECT_THAT(daemon->Wait(), Optional(1));
  EXPECT_FALSE(manager_.Next(std::chrono::milliseconds(0))) << "and says nothing else";
}

TEST_F(DaemonTest, GivesTheJournalPriorities) {
  auto daemon = manager_.Start({"unix:sensor"}, {.environment = {}, .sockets = {}, .journal = true});
  manager_.Await("READY");
  EXPECT_EQ(daemon->Said(), "<6>listening on unix:sensor\n");
  auto second = manager_.Start({"unix:sensor"}, {.environment = {}, .sockets = {}, .journal = true});
  EXPECT_THAT(second->Wait(), Optional(1));
  EXPECT_THAT(second->Said(), StartsWith("<3>cannot start: "));
}

TEST_F(DaemonTest, WarnsOfThreadsThatWereThereBeforeIt) {
  auto daemon = manager_.Start({"--early-thread", "unix:sensor"});
  manager_.Await("READY");
  EXPECT_THAT(daemon->Said(), HasSubstr("threads were started before the Daemon was made"));
}

TEST_F(DaemonTest, TellsTheWatchdogThatItLivesForAsLongAsItAnswers) {
  // At its end the leak checker would want a thread of its own.
  auto daemon = manager_.Start({"unix:sensor", "--one-poller", "--no-threads"},
                               {.environment = {{"WATCHDOG_USEC", "400000"}, {"ASAN_OPTIONS", "detect_leaks=0"}},
                                .sockets = {},
                                .journal = false});
  manager_.Await("READY");
  for (int i = 0; i < 3; ++i) manager_.Await("WATCHDOG");
  // All threads that answer are held up, and all else runs.
  const std::string fifo = Fifo("block");
  OpenCall call(CreateChannel("unix:sensor"), "/test/Block", fifo);
  ASSERT_TRUE(daemon->Says("the server does not answer a call of its own"));
  while (manager_.Next(std::chrono::milliseconds(0))) {
  }
  EXPECT_FALSE(manager_.Next(std::chrono::milliseconds(1200))) << "three times the watchdog's time";
  Release(fifo);
  EXPECT_TRUE(call.End().status.ok());
  manager_.Await("WATCHDOG");
  EXPECT_TRUE(daemon->Says("the server answers again"));
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(0));
}

TEST_F(DaemonTest, LivesWhenACallBlocksThatAnotherThreadRelieves) {
  auto daemon =
      manager_.Start({"unix:sensor", "--one-poller"},
                     {.environment = {{"WATCHDOG_USEC", "2000000"}}, .sockets = {}, .journal = false});
  manager_.Await("READY");
  const std::string fifo = Fifo("block");
  OpenCall call(CreateChannel("unix:sensor"), "/test/Block", fifo);
  for (int i = 0; i < 3; ++i) manager_.Await("WATCHDOG");
  EXPECT_THAT(daemon->Said(), Not(HasSubstr("does not answer")));
  Release(fifo);
  EXPECT_TRUE(call.End().status.ok());
}

TEST_F(DaemonTest, LeavesTheWatchdogAloneWhenNobodyAsks) {
  auto daemon = manager_.Start(
      {"unix:sensor"},
      {.environment = {{"WATCHDOG_USEC", "100000"}, {"WATCHDOG_PID", "1"}}, .sockets = {}, .journal = false});
  manager_.Await("READY");
  EXPECT_FALSE(manager_.Next(std::chrono::milliseconds(300)));
}

TEST_F(DaemonTest, HandsOverToASuccessor) {
  auto first = manager_.Start({"unix:sensor", "--take-over"});
  manager_.Await("READY");
  const auto channel = CreateChannel("unix:sensor");
  OpenCall call(channel, "/test/Wait", "");
  ASSERT_TRUE(OpenCall(channel, "/test/Echo", "1").End().status.ok());
  auto second = manager_.Start({"unix:sensor", "--take-over"});
  EXPECT_EQ(manager_.Await("READY").at("MAINPID"), std::to_string(second->pid()));
  ASSERT_TRUE(first->Says("a successor has taken over"));
  first->Signal(SIGTERM);  // cuts short what would wait for the call
  EXPECT_FALSE(call.End().status.ok());
  EXPECT_THAT(first->Wait(), Optional(0));
  EXPECT_FALSE(manager_.Next(std::chrono::milliseconds(0))) << "the manager's daemon did not stop";
  EXPECT_EQ(HealthAt("unix:sensor"), "SERVING");
  // It is the one of the name now.
  auto third = manager_.Start({"unix:other"});
  EXPECT_THAT(manager_.Await("STATUS").at("STATUS"), HasSubstr("pid " + std::to_string(second->pid())));
}

TEST_F(DaemonTest, HandsOverWhereOnlyTheNameIsTheSame) {
  auto first = manager_.Start({"unix:sensor", "--take-over"});
  manager_.Await("READY");
  auto second = manager_.Start({"unix:other", "--take-over"});
  manager_.Await("READY");
  EXPECT_THAT(first->Wait(), Optional(0));
  EXPECT_EQ(HealthAt("unix:other"), "SERVING");
}

}  // namespace
}  // namespace ipcrpc::hosting
