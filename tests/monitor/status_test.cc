// SystemStatus, as the command-line tool prints it.
#include "absl/strings/str_cat.h"
#include "tests/monitor/monitor_test.h"

namespace ipcrpc::e2e {
namespace {

using std::chrono::milliseconds;

const std::string kGet = "ipcrpc.monitor.v1.SystemStatus/Get";
const std::string kWatchStatus = "ipcrpc.monitor.v1.SystemStatus/Watch";

using StatusCalls = MonitorTest;

double Seconds(const Json& reply) {
  const Json* rates = reply.Find("rates");
  const Json* seconds = rates == nullptr ? nullptr : rates->Find("seconds");
  return seconds == nullptr ? 0 : seconds->number;
}

TEST_F(StatusCalls, AWatchHasRatesFromTheSecondOnOverItsOwnInterval) {
  auto daemon = StartDaemon({"shm:monitor"});
  auto slow = StartCli({"call", "shm:monitor", kWatchStatus, "-d", R"({"sections":["CPU","NETWORK"],"interval":"0.3s"})"});
  auto fast = StartCli({"call", "shm:monitor", kWatchStatus, "-d",
                        R"({"sections":["CPU"],"interval":"0.05s","topProcesses":2})"});
  for (auto* watch : {slow.get(), fast.get()}) {
    const auto first = watch->Line(Process::kOut);
    ASSERT_TRUE(first.has_value()) << watch->rest(Process::kErr);
    EXPECT_EQ(Json::Parse(*first).value_or(Json()).Find("rates"), nullptr) << *first;
  }
  const auto second = Json::Parse(slow->Line(Process::kOut).value_or("")).value_or(Json());
  EXPECT_GT(Seconds(second), 0.25);
  EXPECT_NE(second.Find("rates")->Find("networks"), nullptr);
  const auto of_fast = Json::Parse(fast->Line(Process::kOut).value_or("")).value_or(Json());
  EXPECT_GT(Seconds(of_fast), 0.04);
  ASSERT_NE(of_fast.Find("processes"), nullptr);
  EXPECT_EQ(of_fast.Find("processes")->list.size(), 2u);
  for (const Json& process : of_fast.Find("processes")->list) EXPECT_NE(process.Find("cpu"), nullptr);
  EXPECT_EQ(of_fast.Find("memory"), nullptr);
  StopDaemon(*daemon);
}

TEST_F(StatusCalls, RatesOfASingleCall) {
  auto daemon = StartDaemon({"shm:monitor"});
  const Json reply = Call("shm:monitor", kGet, R"({"sections":["CPU"],"ratesOver":"0.1s"})");
  EXPECT_GE(Seconds(reply), 0.1);
  EXPECT_EQ(Call("shm:monitor", kGet).Find("rates"), nullptr);
  const Outcome wrong = Cli({"call", "shm:monitor", kGet, "-d", R"({"ratesOver":"61s"})"});
  EXPECT_EQ(wrong.code, 64 + 3);
  EXPECT_NE(wrong.err.find("from 10 ms to one minute"), std::string::npos) << wrong.err;
  const Outcome none = Cli({"call", "shm:monitor", kGet, "-d", R"({"cgroup":"/no/such"})"});
  EXPECT_EQ(none.code, 64 + 5);
  EXPECT_NE(none.err.find("there is no cgroup '/no/such'"), std::string::npos) << none.err;
  StopDaemon(*daemon);
}

}  // namespace
}  // namespace ipcrpc::e2e
