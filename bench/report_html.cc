// The report as one page: every table with a plot of it, drawn here as SVG.
#include <stdio.h>

#include <algorithm>
#include <cmath>

#include "bench/report.h"

namespace ipcrpc::bench {
namespace {

constexpr double kLabel = 300, kWidth = 620, kLine = 20, kTop = 8, kBottom = 26;

constexpr char kStyle[] = R"(
:root { color-scheme: light dark; --text: #1d1f21; --faint: #8a8f98; --rule: #8a8f9840; --ours: #c2410c; --rival: #2563eb; --floor: #6b7280; --page: #fff }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --ours: #fb923c; --rival: #60a5fa; --floor: #9ca3af; --page: #16181b } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 1000px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: .5em 0 2.5em; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 2px 8px; border-bottom: 1px solid var(--rule) }
th:first-child, td:first-child { text-align: left }
.ours { color: var(--ours); fill: var(--ours); stroke: var(--ours); font-weight: 600 }
.rival { fill: var(--rival); stroke: var(--rival) }
.floor { fill: var(--floor); stroke: var(--floor) }
svg { max-width: 100%; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); stroke: none }
svg text.ours { fill: var(--ours); stroke: none; font-weight: 600 }
svg text.axis { fill: var(--faint) }
.grid { stroke: var(--rule) }
.missed { color: var(--faint) }
)";

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '&') out += "&amp;";
    else out += c;
  }
  return out;
}

const char* ClassOf(const Row& row) {
  switch (row.kind) {
    case Row::Kind::kOurs: return "ours";
    case Row::Kind::kRival: return "rival";
    case Row::Kind::kFloor: return "floor";
  }
  return "";
}

std::string Cell(const char* tag, const std::string& text) { return std::string("<") + tag + ">" + Escaped(text) + "</" + tag + ">"; }

template <typename... Values>
std::string Format(const char* format, Values... values) {
  char text[256];
  snprintf(text, sizeof(text), format, values...);
  return text;
}

// Decades, from below the least value to above the greatest.
class LogAxis {
 public:
  void Include(double value) {
    if (!(value > 0) || !std::isfinite(value)) return;
    low_ = std::min(low_, value), high_ = std::max(high_, value);
  }
  bool empty() const { return low_ > high_; }
  int first() const { return static_cast<int>(std::floor(std::log10(low_))); }
  int last() const { return std::max(first() + 1, static_cast<int>(std::ceil(std::log10(high_)))); }
  double At(double value) const {
    return kLabel + kWidth * (std::log10(std::max(value, std::pow(10, first()))) - first()) / (last() - first());
  }

 private:
  double low_ = INFINITY, high_ = -INFINITY;
};

// What is drawn of a row: a mark for each round of the first column, and of latencies the further quantiles.
std::vector<double Measured::*> Marks(const Shape& shape) {
  if (!shape.quantiles) return {shape.columns[0].figure};
  return {&Measured::p50_us, &Measured::p99_us, &Measured::p999_us, &Measured::p9999_us};
}

std::string Decade(int power) {
  if (power >= 6) return Format("%.0f M", std::pow(10, power - 6));
  if (power >= 3) return Format("%.0f k", std::pow(10, power - 3));
  return Format("%.*f", std::max(0, -power), std::pow(10, power));
}

std::string RowMarks(const Table& table, const Row& row, const LogAxis& axis, double y) {
  std::string svg;
  const std::vector<double Measured::*> marks = Marks(*table.shape);
  const double first = MedianOf(row, marks.front()), last = MedianOf(row, marks.back());
  if (!(first > 0)) return svg;
  if (marks.size() > 1) {
    svg += Format("<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke-width=\"2\" opacity=\".35\"/>", ClassOf(row), axis.At(first),
                  axis.At(last), y, y);
  } else {
    svg += Format("<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"10\" opacity=\".35\" stroke=\"none\"/>", ClassOf(row), kLabel, y - 5,
                  std::max(1.0, axis.At(first) - kLabel));
  }
  for (const Measured& round : row.rounds) {
    if (!(round.*marks[0] > 0)) continue;
    svg += Format("<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2\" opacity=\".5\"/>", ClassOf(row), axis.At(round.*marks[0]), y);
  }
  for (size_t i = 0; i < marks.size(); ++i) {
    const double value = MedianOf(row, marks[i]);
    svg += Format("<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"%s><title>%s</title></circle>", ClassOf(row), axis.At(value), y,
                  i == 0 ? 4.5 : 3.0, i == 0 ? "" : " style=\"fill: var(--page)\"", Number(value).c_str());
  }
  return svg;
}

std::string Plot(const Table& table) {
  LogAxis axis;
  size_t lines = 0;
  for (const Row& row : table.rows) {
    if (row.rounds.empty()) continue;
    ++lines;
    for (const auto figure : Marks(*table.shape)) axis.Include(MedianOf(row, figure));
    axis.Include(SpreadOf(row, table.shape->columns[0].figure).low);
    axis.Include(SpreadOf(row, table.shape->columns[0].figure).high);
  }
  if (axis.empty()) return "";
  const double height = kTop + static_cast<double>(lines) * kLine + kBottom, right = kLabel + kWidth;
  std::string svg = Format("<svg viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" role=\"img\">\n", right + 30, height, right + 30);
  for (int power = axis.first(); power <= axis.last(); ++power) {
    const double x = axis.At(std::pow(10, power));
    svg += Format("<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"0\" y2=\"%.1f\"/>", x, x, height - kBottom);
    svg += Format("<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x, height - 10, Decade(power).c_str());
  }
  double y = kTop + kLine / 2;
  for (const Row& row : table.rows) {
    if (row.rounds.empty()) continue;
    svg += Format("<text class=\"%s\" x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">", row.kind == Row::Kind::kOurs ? "ours" : "", kLabel - 12, y + 4) + Escaped(row.name) + "</text>";
    svg += RowMarks(table, row, axis, y) + "\n";
    y += kLine;
  }
  return svg + "</svg>\n";
}

std::string TableHtml(const Table& table) {
  const auto& columns = table.shape->columns;
  std::string html = "<table><tr>" + Cell("th", "");
  for (const Shape::Column& column : columns) html += Cell("th", column.title);
  html += Cell("th", "× base") + Cell("th", "probe ns") + "</tr>\n";
  for (const Row& row : table.rows) {
    if (row.rounds.empty()) continue;
    html += std::string("<tr class=\"") + (row.kind == Row::Kind::kOurs ? "ours" : "") + "\">" + Cell("td", row.name);
    for (const Shape::Column& column : columns) html += Cell("td", Number(MedianOf(row, column.figure)));
    const std::optional<Ratio> ratio = RatioIn(table, row);
    html += Cell("td", row.base == row.name ? "base" : ratio.has_value() ? Number(ratio->median) : "–");
    html += Cell("td", Number(MedianOf(row, &Measured::probe_ns))) + "</tr>\n";
  }
  return html + "</table>\n";
}

std::string GoalsHtml(const Report& report) {
  std::string html = "<h2>Goals</h2>\n<table><tr><th>goal</th><th>found</th><th>wanted</th><th></th></tr>\n";
  for (const Outcome& outcome : Outcomes(report)) {
    html += std::string("<tr class=\"") + (outcome.reached ? "" : "missed") + "\">" + Cell("td", outcome.goal->what) +
            Cell("td", Number(outcome.found.median)) + Cell("td", (outcome.goal->at_least ? "≥ " : "≤ ") + Number(outcome.goal->bound)) +
            Cell("td", outcome.reached ? "reached" : "missed") + "</tr>\n";
  }
  return html + "</table>\n";
}

}  // namespace

std::string HtmlPage(const Report& report) {
  std::string html = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>ipcrpc: measurements</title>\n<style>" +
                     std::string(kStyle) + "</style>\n<h1>What ipcrpc costs, beside floors and rivals</h1>\n<p>" + Escaped(report.machine) +
                     Format("; medians of %d interleaved rounds of %.2f s", report.plan.rounds, report.plan.seconds) +
                     ". Filled marks are medians, small dots the rounds, open marks p99, p99.9 and p99.99. All axes are logarithmic; those of "
                     "latencies are µs.</p>\n";
  html += GoalsHtml(report);
  for (const Table& table : report.tables) {
    if (std::all_of(table.rows.begin(), table.rows.end(), [](const Row& row) { return row.rounds.empty(); })) continue;
    html += "<h2>" + Escaped(table.title) + ", " + NameOf(table.placement) + "</h2>\n<p>" + Escaped(table.shape->columns[0].title) + "</p>\n" +
            Plot(table) + TableHtml(table);
  }
  return html + "</html>\n";
}

}  // namespace ipcrpc::bench
