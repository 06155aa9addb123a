// The results of a run, for people and for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/runner.h"

namespace ipcrpc::bench {

// What a table shows of each row.
struct Shape {
  struct Column {
    const char* title;
    double Measured::*figure;
  };
  std::vector<Column> columns;  // the first is what rows are compared by
  bool quantiles;               // the figures are latencies: plotted as such
};
const Shape& LatencyShape();
const Shape& ThroughputShape(const char* unit);  // "messages"
const Shape& CountsShape();
const Shape& IdleShape();

struct RowName {
  std::string table;
  Placement placement;
  std::string row;
};

// A figure that is to be reached: one row's by another's, from the rounds in which both ran under like conditions (the
// probes around them agree); or one row's alone.
struct Goal {
  std::string what;
  RowName row;
  std::optional<RowName> base;
  double Measured::*figure;
  double bound;
  bool at_least;
};

// One column of the table at the end, which has a row for each system.
struct Summary {
  std::string title;
  std::string table;
  Placement placement;
};

struct Report {
  std::string machine;
  Plan plan;
  std::vector<Table> tables;
  std::vector<Goal> goals;
  std::vector<Summary> summary;  // of the columns that rows are compared by
};

const Row* Find(const Report& report, const RowName& name);  // null: it did not run
double MedianOf(const Row& row, double Measured::*figure);
struct Spread {
  double low, high;
};
Spread SpreadOf(const Row& row, double Measured::*figure);
struct Ratio {
  double median;
  size_t rounds;  // in which both ran under like conditions
};
std::optional<Ratio> RatioOf(Placement placement, const Row& row, const Row& base, double Measured::*figure);
// To the table's own base row.
std::optional<Ratio> RatioIn(const Table& table, const Row& row);

// A goal with what came of it; those whose rows did not run, or never under like conditions, are left out.
struct Outcome {
  const Goal* goal;
  Ratio found;
  bool reached;
};
std::vector<Outcome> Outcomes(const Report& report);

// Three significant digits without an exponent; whole numbers from 10,000 on with commas; a dash for NaN.
std::string Number(double value);

// Markdown: the summary and the goals; or every table too.
std::string SummaryText(const Report& report);
std::string TablesText(const Report& report);
// One page that needs nothing else.
std::string HtmlPage(const Report& report);
// Every round's figures.
std::string JsonText(const Report& report);

}  // namespace ipcrpc::bench
