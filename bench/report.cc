#include "bench/report.h"

#include <stdio.h>

#include <algorithm>
#include <optional>

namespace ipcrpc::bench {
namespace {

// Probes that differ by more say that the host moved a processor between the runs.
constexpr double kLikeProbes = 1.5;

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::vector<double> Figures(const Row& row, double Measured::*figure) {
  std::vector<double> values;
  for (const Measured& round : row.rounds) values.push_back(round.*figure);
  return values;
}

bool Alike(const Measured& a, const Measured& b) {
  if (a.probe_ns == 0 || b.probe_ns == 0) return true;
  return a.probe_change <= kLikeProbes && b.probe_change <= kLikeProbes &&
         std::max(a.probe_ns, b.probe_ns) <= kLikeProbes * std::min(a.probe_ns, b.probe_ns);
}

}  // namespace

double MedianOf(const Row& row, double Measured::*figure) { return Median(Figures(row, figure)); }

const Row* Find(const Report& report, const std::string& name, Placement placement) {
  for (const Row& row : report.rows) {
    if (row.name == name && row.placement == placement && !row.rounds.empty()) return &row;
  }
  return nullptr;
}

std::optional<Ratio> RatioOf(const Row& row, const Row& floor, double Measured::*figure) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(row.rounds.size(), floor.rounds.size()); ++i) {
    // On one core the distance of two does not matter.
    if (row.placement == Placement::kTwoCores && !Alike(row.rounds[i], floor.rounds[i])) continue;
    ratios.push_back(row.rounds[i].*figure / (floor.rounds[i].*figure));
  }
  if (ratios.empty()) return std::nullopt;
  return Ratio{Median(ratios), ratios.size()};
}

std::string Number(double value) {
  char text[32];
  snprintf(text, sizeof(text), value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value);
  return text;
}

namespace {

std::string Range(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return Number(*low) + "-" + Number(*high);
}

void PrintPlacement(const Report& report, Placement placement) {
  const bool two = placement == Placement::kTwoCores;
  const Row* floor = Find(report, two ? report.two_core_floor : report.one_core_floor, placement);
  if (std::none_of(report.rows.begin(), report.rows.end(), [&](const Row& row) { return row.placement == placement; })) return;
  if (two) {
    printf("\ntwo cores: client on processor %d, server on processor %d\n", report.plan.client_cpu, report.plan.server_cpu);
  } else {
    printf("\none core: client and server on processor %d\n", report.plan.client_cpu);
  }
  printf("%-36s %8s %15s %8s %8s %10s %8s %8s %8s %7s\n", "", "p50", "(rounds)", "p99", "p99.9", "calls/s", "CPU/call", "x floor",
         "probe ns", "others");
  for (const Row& row : report.rows) {
    if (row.placement != placement || row.rounds.empty()) continue;
    const std::optional<Ratio> ratio = floor == nullptr ? std::nullopt : RatioOf(row, *floor, &Measured::p50_us);
    printf("%-36s %8s %15s %8s %8s %10.0f %8s %8s %8.0f %7.2f\n", row.name.c_str(), Number(MedianOf(row, &Measured::p50_us)).c_str(),
           Range(Figures(row, &Measured::p50_us)).c_str(), Number(MedianOf(row, &Measured::p99_us)).c_str(),
           Number(MedianOf(row, &Measured::p999_us)).c_str(), MedianOf(row, &Measured::calls_per_s),
           Number(MedianOf(row, &Measured::cpu_us)).c_str(),
           &row == floor ? "floor" : ratio.has_value() ? Number(ratio->median).c_str() : "-",
           MedianOf(row, &Measured::probe_ns), MedianOf(row, &Measured::others_cores));
  }
}

// One goal with what came of it; nothing when a row of it did not run or never under like conditions.
struct Outcome {
  const Goal* goal;
  Ratio ratio;
  bool reached;
};
std::vector<Outcome> Outcomes(const Report& report) {
  std::vector<Outcome> outcomes;
  for (const Goal& goal : report.goals) {
    const Row* row = Find(report, goal.row, goal.placement);
    const Row* floor = Find(report, goal.floor, goal.placement);
    if (row == nullptr || floor == nullptr) continue;
    const std::optional<Ratio> ratio = goal.at_least ? RatioOf(*floor, *row, goal.figure) : RatioOf(*row, *floor, goal.figure);
    if (!ratio.has_value()) continue;
    outcomes.push_back({&goal, *ratio, goal.at_least ? ratio->median >= goal.bound : ratio->median <= goal.bound});
  }
  return outcomes;
}

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

const char* NameOf(Placement placement) { return placement == Placement::kTwoCores ? "two cores" : "one core"; }

void WriteRow(FILE* file, const Row& row) {
  fprintf(file, "{\"name\": %s, \"placement\": \"%s\", \"rounds\": [", Quoted(row.name).c_str(), NameOf(row.placement));
  for (size_t i = 0; i < row.rounds.size(); ++i) {
    const Measured& round = row.rounds[i];
    fprintf(file,
            "%s\n    {\"p50_us\": %.4f, \"p99_us\": %.4f, \"p999_us\": %.4f, \"calls\": %.0f, \"calls_per_s\": %.1f, \"cpu_us\": %.4f, "
            "\"probe_ns\": %.1f, \"probe_change\": %.3f, \"others_cores\": %.2f}",
            i == 0 ? "" : ",", round.p50_us, round.p99_us, round.p999_us, round.calls, round.calls_per_s, round.cpu_us, round.probe_ns,
            round.probe_change, round.others_cores);
  }
  fprintf(file, "]}");
}

}  // namespace

void PrintGoals(const Report& report) {
  for (const Outcome& outcome : Outcomes(report)) {
    printf("%-74s %7s  goal %s %-4s %s (%zu of %d rounds compare)\n", outcome.goal->what.c_str(), Number(outcome.ratio.median).c_str(),
           outcome.goal->at_least ? ">=" : "<=", Number(outcome.goal->bound).c_str(), outcome.reached ? "reached" : "missed ",
           outcome.ratio.rounds, report.plan.rounds);
  }
}

void PrintTable(const Report& report) {
  printf("unary echo, %zu bytes of payload; microseconds for a round trip; medians of %d interleaved rounds of %.2f s\n%s\n",
         kPayloadBytes, report.plan.rounds, report.plan.seconds, report.machine.c_str());
  PrintPlacement(report, Placement::kTwoCores);
  PrintPlacement(report, Placement::kOneCore);
  printf("\nprobe: a cache-line round trip before and after each run, mean; others: processors that everybody else kept busy\n"
         "CPU/call: processor microseconds of both processes; x floor: p50 by that of the floor in the same round\n\n");
  PrintGoals(report);
}

bool WriteJson(const Report& report, const std::string& path) {
  FILE* file = fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  fprintf(file, "{\"machine\": %s, \"payload_bytes\": %zu, \"seconds\": %.3f, \"client_cpu\": %d, \"server_cpu\": %d,\n \"rows\": [",
          Quoted(report.machine).c_str(), kPayloadBytes, report.plan.seconds, report.plan.client_cpu, report.plan.server_cpu);
  for (size_t i = 0; i < report.rows.size(); ++i) {
    fprintf(file, "%s\n  ", i == 0 ? "" : ",");
    WriteRow(file, report.rows[i]);
  }
  fprintf(file, "],\n \"goals\": [");
  const char* separator = "";
  for (const Outcome& outcome : Outcomes(report)) {
    fprintf(file, "%s\n  {\"what\": %s, \"ratio\": %.4f, \"%s\": %.3f, \"reached\": %s, \"rounds\": %zu}", separator,
            Quoted(outcome.goal->what).c_str(), outcome.ratio.median, outcome.goal->at_least ? "at_least" : "at_most", outcome.goal->bound,
            outcome.reached ? "true" : "false", outcome.ratio.rounds);
    separator = ",";
  }
  fprintf(file, "]}\n");
  return fclose(file) == 0;
}

}  // namespace ipcrpc::bench
