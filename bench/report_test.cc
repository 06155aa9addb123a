#include "bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace ipcrpc::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Measured Round(double p50_us, double probe_ns = 100, double probe_change = 1) {
  Measured round = {};
  round.p50_us = p50_us;
  round.calls_per_s = 1e6 / p50_us;
  round.client_syscalls = std::numeric_limits<double>::quiet_NaN();
  round.probe_ns = probe_ns;
  round.probe_change = probe_change;
  return round;
}

Row RowWith(const std::string& name, std::vector<Measured> rounds) {
  return {.name = name, .kind = Row::Kind::kOurs, .order = {}, .make = {}, .base = "floor", .rounds_at_most = 3, .rounds = std::move(rounds)};
}

RowName In(const std::string& row) { return {"calls", Placement::kTwoCores, row}; }

Report ReportOf(std::vector<Row> rows) {
  return {.machine = "a \"machine\"", .plan = {.rounds = 3, .seconds = 0.1, .client_cpu = 0, .server_cpu = 1},
          .tables = {{"calls", Placement::kTwoCores, &LatencyShape(), std::move(rows)}}, .goals = {},
          .summary = {{"two cores", "calls", Placement::kTwoCores}}};
}

TEST(ReportTest, NumbersHaveThreeDigitsAndCommas) {
  EXPECT_EQ(Number(0), "0");
  EXPECT_EQ(Number(0.1234), "0.12");
  EXPECT_EQ(Number(12.34), "12.3");
  EXPECT_EQ(Number(9998.7), "9999");
  EXPECT_EQ(Number(1234567), "1,234,567");
  EXPECT_EQ(Number(std::numeric_limits<double>::quiet_NaN()), "–");
}

TEST(ReportTest, RatiosTakeTheRoundsWhoseProbesAgree) {
  const Report report = ReportOf({RowWith("floor", {Round(1), Round(1, 400), Round(1, 100, 3)}), RowWith("ours", {Round(2), Round(9), Round(9)})});
  const std::optional<Ratio> ratio = RatioIn(report.tables[0], report.tables[0].rows[1]);
  ASSERT_TRUE(ratio.has_value());
  EXPECT_EQ(ratio->median, 2);
  EXPECT_EQ(ratio->rounds, 1u);
  // On one core it does not matter how far the other is.
  EXPECT_EQ(RatioOf(Placement::kOneCore, report.tables[0].rows[1], report.tables[0].rows[0], &Measured::p50_us)->rounds, 3u);
}

TEST(ReportTest, NoRatioWithoutRoundsThatCompare) {
  const Report report = ReportOf({RowWith("floor", {Round(1, 400)}), RowWith("ours", {Round(2)})});
  EXPECT_FALSE(RatioIn(report.tables[0], report.tables[0].rows[1]).has_value());
  EXPECT_THAT(TablesText(report), HasSubstr("ours"));
}

TEST(ReportTest, GoalsAreReachedFromEitherSideAndAlone) {
  Report report = ReportOf({RowWith("floor", {Round(1)}), RowWith("ours", {Round(2)}), RowWith("absent", {})});
  report.goals = {{"at most 2", In("ours"), In("floor"), &Measured::p50_us, 2, false},
                  {"at most 1.9", In("ours"), In("floor"), &Measured::p50_us, 1.9, false},
                  {"at least 0.5 of the rate", In("ours"), In("floor"), &Measured::calls_per_s, 0.5, true},
                  {"at least 600 k", In("ours"), std::nullopt, &Measured::calls_per_s, 6e5, true},
                  {"of a row that did not run", In("absent"), In("floor"), &Measured::p50_us, 2, false},
                  {"by a row that did not run", In("ours"), In("absent"), &Measured::p50_us, 2, false},
                  {"of what was not measured", In("ours"), std::nullopt, &Measured::client_syscalls, 2, false}};
  std::vector<bool> reached;
  for (const Outcome& outcome : Outcomes(report)) reached.push_back(outcome.reached);
  EXPECT_EQ(reached, (std::vector<bool>{true, false, true, false}));
}

TEST(ReportTest, WhatDidNotRunIsInNoText) {
  const Report report = ReportOf({RowWith("floor", {Round(1)}), RowWith("absent", {})});
  for (const std::string& text : {SummaryText(report), TablesText(report), JsonText(report)}) {
    EXPECT_THAT(text, HasSubstr("floor"));
    EXPECT_THAT(text, Not(HasSubstr("absent")));
  }
}

TEST(ReportTest, JsonQuotesAndLeavesOutWhatIsNoNumber) {
  const std::string json = JsonText(ReportOf({RowWith("floor", {Round(1)})}));
  EXPECT_THAT(json, HasSubstr("\"a \\\"machine\\\"\""));
  EXPECT_THAT(json, HasSubstr("\"p50_us\": 1,"));
  EXPECT_THAT(json, Not(HasSubstr("client_syscalls")));
  EXPECT_THAT(json, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace ipcrpc::bench
