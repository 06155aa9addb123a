// The report as Markdown, columns aligned for reading it as it is.
#include <stdio.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bench/report.h"

namespace ipcrpc::bench {
namespace {

using Cells = std::vector<std::string>;

// Characters, for text in UTF-8.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string Lines(const std::vector<Cells>& rows) {
  std::vector<size_t> widths(rows.front().size(), 3);
  for (const Cells& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  for (size_t line = 0; line < rows.size(); ++line) {
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string padding(widths[i] - Width(rows[line][i]), ' ');
      text += i == 0 ? "| " + rows[line][i] + padding : " | " + padding + rows[line][i];
    }
    text += " |\n";
    if (line != 0) continue;
    for (size_t i = 0; i < widths.size(); ++i) text += "|" + std::string(widths[i] + 1, '-') + (i == 0 ? "-" : ":");
    text += "|\n";
  }
  return text;
}

std::string TableText(const Table& table) {
  const auto& columns = table.shape->columns;
  Cells head = {table.title + ", " + NameOf(table.placement), columns[0].title, "(rounds)"};
  for (size_t i = 1; i < columns.size(); ++i) head.push_back(columns[i].title);
  head.insert(head.end(), {"× base", "probe ns", "others"});
  std::vector<Cells> rows = {head};
  for (const Row& row : table.rows) {
    if (row.rounds.empty()) continue;
    const Spread spread = SpreadOf(row, columns[0].figure);
    Cells cells = {row.name, Number(MedianOf(row, columns[0].figure)), Number(spread.low) + "–" + Number(spread.high)};
    for (size_t i = 1; i < columns.size(); ++i) cells.push_back(Number(MedianOf(row, columns[i].figure)));
    const std::optional<Ratio> ratio = RatioIn(table, row);
    cells.push_back(row.base == row.name ? "base" : ratio.has_value() ? Number(ratio->median) : "–");
    cells.push_back(Number(MedianOf(row, &Measured::probe_ns)));
    cells.push_back(Number(MedianOf(row, &Measured::others_cores)));
    rows.push_back(std::move(cells));
  }
  return rows.size() > 1 ? Lines(rows) + "\n" : "";
}

// Each system once, in the order of its first appearance.
std::vector<std::string> SystemsOf(const Report& report) {
  std::vector<std::string> names;
  for (const Summary& column : report.summary) {
    for (const Table& table : report.tables) {
      if (table.title != column.table || table.placement != column.placement) continue;
      for (const Row& row : table.rows) {
        if (!row.rounds.empty() && std::find(names.begin(), names.end(), row.name) == names.end()) names.push_back(row.name);
      }
    }
  }
  return names;
}

std::string Goals(const Report& report) {
  std::vector<Cells> rows = {{"goal", "found", "wanted", "", "rounds that compare"}};
  for (const Outcome& outcome : Outcomes(report)) {
    rows.push_back({outcome.goal->what, Number(outcome.found.median), (outcome.goal->at_least ? "≥ " : "≤ ") + Number(outcome.goal->bound),
                    outcome.reached ? "reached" : "missed", std::to_string(outcome.found.rounds)});
  }
  return rows.size() > 1 ? Lines(rows) : "";
}

}  // namespace

std::string SummaryText(const Report& report) {
  Cells head = {"p50, µs"};
  for (const Summary& column : report.summary) head.push_back(column.title);
  std::vector<Cells> rows = {head};
  for (const std::string& name : SystemsOf(report)) {
    Cells cells = {name};
    for (const Summary& column : report.summary) {
      const Row* row = Find(report, {column.table, column.placement, name});
      cells.push_back(row == nullptr ? "–" : Number(MedianOf(*row, &Measured::p50_us)));
    }
    rows.push_back(std::move(cells));
  }
  char run[96];
  snprintf(run, sizeof(run), "medians of %d interleaved rounds of %.2f s\n\n", report.plan.rounds, report.plan.seconds);
  return report.machine + "; " + run + (rows.size() > 1 ? Lines(rows) + "\n" : "") + Goals(report);
}

std::string TablesText(const Report& report) {
  std::string text;
  for (const Table& table : report.tables) text += TableText(table);
  return text +
         "two cores: client on processor " + std::to_string(report.plan.client_cpu) + ", server on processor " +
         std::to_string(report.plan.server_cpu) +
         "; one core: both on the first; free: not pinned; hogs: not pinned, a process spinning on each processor.  \n"
         "CPU: both processes, all threads; × base: the first column by that of the row marked base (or, of transports, the row\n"
         "of their mechanism), in the rounds in which the probes around both agree; probe: a cache-line round trip before and\n"
         "after each run, mean; others: processors that everybody else kept busy.\n\n";
}

}  // namespace ipcrpc::bench
