#include "bench/report.h"

#include <stdio.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace ipcrpc::bench {
namespace {

// Probes that differ by more say that the host moved a processor between the runs.
constexpr double kLikeProbes = 1.5;

double Median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::vector<double> Figures(const Row& row, double Measured::*figure) {
  std::vector<double> values;
  for (const Measured& round : row.rounds) {
    if (!std::isnan(round.*figure)) values.push_back(round.*figure);
  }
  return values;
}

bool Alike(const Measured& a, const Measured& b) {
  if (a.probe_ns == 0 || b.probe_ns == 0) return true;
  return a.probe_change <= kLikeProbes && b.probe_change <= kLikeProbes &&
         std::max(a.probe_ns, b.probe_ns) <= kLikeProbes * std::min(a.probe_ns, b.probe_ns);
}

}  // namespace

const Shape& LatencyShape() {
  static const Shape kShape = {{{"p50 µs", &Measured::p50_us}, {"p99", &Measured::p99_us}, {"p99.9", &Measured::p999_us},
                                {"p99.99", &Measured::p9999_us}, {"calls/s", &Measured::calls_per_s}, {"CPU µs/call", &Measured::cpu_us}},
                               /*quantiles=*/true};
  return kShape;
}

const Shape& ThroughputShape(const char* unit) {
  static std::map<std::string, std::string> titles;
  static std::map<std::string, Shape> shapes;
  const std::string& title = titles.emplace(unit, std::string(unit) + "/s").first->second;
  return shapes.try_emplace(unit, Shape{{{title.c_str(), &Measured::calls_per_s}, {"MB/s", &Measured::mb_per_s},
                                         {"CPU µs each", &Measured::cpu_us}, {"p50 µs", &Measured::p50_us}, {"p99", &Measured::p99_us}},
                                        /*quantiles=*/false}).first->second;
}

const Shape& CountsShape() {
  static const Shape kShape = {{{"client's system calls / 1,000", &Measured::client_syscalls}, {"server's", &Measured::server_syscalls},
                                {"page faults / 1,000", &Measured::faults}, {"client's allocations / call", &Measured::client_allocations},
                                {"server's", &Measured::server_allocations}, {"CPU µs/call", &Measured::cpu_us}},
                               /*quantiles=*/false};
  return kShape;
}

const Shape& IdleShape() {
  static const Shape kShape = {{{"client KiB each", &Measured::client_kib}, {"server KiB each", &Measured::server_kib},
                                {"CPU %, all together", &Measured::cpu_percent}},
                               /*quantiles=*/false};
  return kShape;
}

const Row* Find(const Report& report, const RowName& name) {
  for (const Table& table : report.tables) {
    if (table.title != name.table || table.placement != name.placement) continue;
    for (const Row& row : table.rows) {
      if (row.name == name.row && !row.rounds.empty()) return &row;
    }
  }
  return nullptr;
}

double MedianOf(const Row& row, double Measured::*figure) { return Median(Figures(row, figure)); }

Spread SpreadOf(const Row& row, double Measured::*figure) {
  const std::vector<double> values = Figures(row, figure);
  if (values.empty()) return {0, 0};
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {*low, *high};
}

std::optional<Ratio> RatioOf(Placement placement, const Row& row, const Row& base, double Measured::*figure) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(row.rounds.size(), base.rounds.size()); ++i) {
    // On one core the distance of two does not matter.
    if (placement != Placement::kOneCore && !Alike(row.rounds[i], base.rounds[i])) continue;
    const double ratio = row.rounds[i].*figure / (base.rounds[i].*figure);
    if (std::isfinite(ratio)) ratios.push_back(ratio);
  }
  if (ratios.empty()) return std::nullopt;
  return Ratio{Median(ratios), ratios.size()};
}

std::optional<Ratio> RatioIn(const Table& table, const Row& row) {
  for (const Row& base : table.rows) {
    if (base.name == row.base && !base.rounds.empty()) return RatioOf(table.placement, row, base, table.shape->columns[0].figure);
  }
  return std::nullopt;
}

std::vector<Outcome> Outcomes(const Report& report) {
  std::vector<Outcome> outcomes;
  for (const Goal& goal : report.goals) {
    const Row* row = Find(report, goal.row);
    const Row* base = goal.base.has_value() ? Find(report, *goal.base) : nullptr;
    if (row == nullptr || (goal.base.has_value() && base == nullptr)) continue;
    const std::optional<Ratio> found =
        base != nullptr ? RatioOf(goal.row.placement, *row, *base, goal.figure)
                        : Ratio{MedianOf(*row, goal.figure), row->rounds.size()};
    if (!found.has_value() || std::isnan(found->median)) continue;
    outcomes.push_back({&goal, *found, goal.at_least ? found->median >= goal.bound : found->median <= goal.bound});
  }
  return outcomes;
}

std::string Number(double value) {
  if (std::isnan(value)) return "–";
  char text[32];
  snprintf(text, sizeof(text), value == 0 ? "%.0f" : value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value);
  std::string number = text;
  if (value < 9999.5) return number;
  for (int at = static_cast<int>(number.size()) - 3; at > 0; at -= 3) number.insert(static_cast<size_t>(at), ",");
  return number;
}

}  // namespace ipcrpc::bench
