#include <stdio.h>

#include <cmath>

#include "bench/report.h"

namespace ipcrpc::bench {
namespace {

struct Field {
  const char* name;
  double Measured::*figure;
};
constexpr Field kFields[] = {
    {"p50_us", &Measured::p50_us}, {"p99_us", &Measured::p99_us}, {"p999_us", &Measured::p999_us}, {"p9999_us", &Measured::p9999_us},
    {"calls", &Measured::calls}, {"calls_per_s", &Measured::calls_per_s}, {"mb_per_s", &Measured::mb_per_s},
    {"cpu_us", &Measured::cpu_us}, {"cpu_percent", &Measured::cpu_percent}, {"faults_per_1000", &Measured::faults},
    {"client_syscalls_per_1000", &Measured::client_syscalls}, {"server_syscalls_per_1000", &Measured::server_syscalls},
    {"client_allocations", &Measured::client_allocations}, {"server_allocations", &Measured::server_allocations},
    {"client_kib", &Measured::client_kib}, {"server_kib", &Measured::server_kib},
    {"probe_ns", &Measured::probe_ns}, {"probe_change", &Measured::probe_change}, {"others_cores", &Measured::others_cores},
};

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

std::string Digits(double value) {
  char text[32];
  snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

// What was not measured is left out.
std::string RoundText(const Measured& round) {
  std::string text;
  for (const Field& field : kFields) {
    if (!std::isfinite(round.*field.figure)) continue;
    text += (text.empty() ? "\"" : ", \"") + std::string(field.name) + "\": " + Digits(round.*field.figure);
  }
  return "{" + text + "}";
}

}  // namespace

std::string JsonText(const Report& report) {
  std::string text = "{\"machine\": " + Quoted(report.machine) + ", \"seconds\": " + Digits(report.plan.seconds) +
                     ", \"client_cpu\": " + std::to_string(report.plan.client_cpu) +
                     ", \"server_cpu\": " + std::to_string(report.plan.server_cpu) + ",\n \"rows\": [";
  const char* separator = "\n  ";
  for (const Table& table : report.tables) {
    for (const Row& row : table.rows) {
      if (row.rounds.empty()) continue;
      text += separator + ("{\"table\": " + Quoted(table.title)) + ", \"placement\": " + Quoted(NameOf(table.placement)) +
              ", \"name\": " + Quoted(row.name) + ", \"rounds\": [";
      for (size_t i = 0; i < row.rounds.size(); ++i) text += (i == 0 ? "\n    " : ",\n    ") + RoundText(row.rounds[i]);
      text += "]}";
      separator = ",\n  ";
    }
  }
  text += "],\n \"goals\": [";
  separator = "\n  ";
  for (const Outcome& outcome : Outcomes(report)) {
    text += separator + ("{\"what\": " + Quoted(outcome.goal->what)) + ", \"found\": " + Digits(outcome.found.median) +
            (outcome.goal->at_least ? ", \"at_least\": " : ", \"at_most\": ") + Digits(outcome.goal->bound) +
            ", \"reached\": " + (outcome.reached ? "true" : "false") + ", \"rounds\": " + std::to_string(outcome.found.rounds) + "}";
    separator = ",\n  ";
  }
  return text + "]}\n";
}

}  // namespace ipcrpc::bench
