// What end-to-end tests of the monitor share: a network and a runtime directory of the test's own, the real
// daemon, the real command-line tool.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "services/monitor/json_for_test.h"
#include "tests/monitor/process.h"

namespace ipcrpc::e2e {

using monitor::Json;

inline const std::string kList = "ipcrpc.monitor.v1.NetEvents/List";
inline const std::string kWatch = "ipcrpc.monitor.v1.NetEvents/Watch";

// A program that was built with the tests.
std::string Built(const std::string& name);

// Each test has a network with nothing but lo, and leaves nothing behind: no file in the runtime directory,
// nor in /dev/shm.
class MonitorTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // A daemon that listens there (--listen each) and is ready. Failing that, the test fails.
  std::unique_ptr<Process> StartDaemon(const std::vector<std::string>& addresses,
                                       const std::vector<std::string>& more = {}) const;
  // The process that reads Netlink and /proc for it; waits until there is one, other than `before`. 0: there is none, and
  // the test has failed.
  static pid_t CollectorOf(const Process& daemon, pid_t before = 0);
  // SIGKILL, if it is one process that is meant: to kill(2), 0 and -1 are many.
  static void Kill(pid_t pid);
  // SIGTERM; expects that it ends well.
  static void StopDaemon(Process& daemon);

  // `ipcrpc ARGUMENTS`.
  static Outcome Cli(std::vector<std::string> arguments);
  // The same for a call that must go well, as JSON.
  static Json Call(const std::string& address, const std::string& method, const std::string& request = "{}");
  static std::unique_ptr<Process> StartCli(std::vector<std::string> arguments);
  // `ipcrpc call ADDRESS NetEvents/Watch` that has told the state: its BOOKMARK has come.
  static std::unique_ptr<Process> StartWatch(const std::string& address, const std::string& request = "{}");

  const std::string& runtime_dir() const { return runtime_dir_; }

 private:
  std::string runtime_dir_;
};

// The schemes that everything is shown over.
class EachScheme : public MonitorTest, public testing::WithParamInterface<const char*> {
 protected:
  std::string address() const { return std::string(GetParam()) + ":monitor"; }
};

}  // namespace ipcrpc::e2e
