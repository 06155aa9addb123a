// The results of a run, for people and for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/runner.h"

namespace ipcrpc::bench {

// A figure that is to be reached: one row's quantile by another's, from the rounds in which both ran under like
// conditions (the probes around them agree).
struct Goal {
  std::string what;
  std::string row, floor;
  Placement placement;
  double Measured::*figure;
  double bound;
  bool at_least;  // floor / row >= bound, else row / floor <= bound
};

struct Report {
  std::string machine;
  Plan plan;
  std::vector<Row> rows;
  std::vector<Goal> goals;  // those whose rows did not run are left out
  std::string two_core_floor, one_core_floor;  // rows
};

void PrintTable(const Report& report);
// The goals, and whether they were reached.
void PrintGoals(const Report& report);
// False: the file cannot be written.
bool WriteJson(const Report& report, const std::string& path);

// For tables of another shape.
const Row* Find(const Report& report, const std::string& name, Placement placement);  // null: it did not run
double MedianOf(const Row& row, double Measured::*figure);
struct Ratio {
  double median;
  size_t rounds;  // in which both ran under like conditions
};
std::optional<Ratio> RatioOf(const Row& row, const Row& floor, double Measured::*figure);
// Three significant digits, without an exponent.
std::string Number(double value);

}  // namespace ipcrpc::bench
