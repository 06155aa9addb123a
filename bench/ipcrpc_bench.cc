// ipcrpc_bench [SUITE…]: what calls, streams and connections cost, beside the floors and rivals, in one run.
#include <stdio.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <fstream>

#include "bench/machine.h"
#include "bench/report.h"
#include "bench/scratch_directory.h"
#include "bench/suites/suites.h"

namespace ipcrpc::bench {
namespace {

struct Suite {
  const char* name;
  void (*add)(const Setup& setup, Report& report);
};
constexpr Suite kSuites[] = {
    {"unary", AddUnary}, {"streams", AddStreams}, {"bytes", AddBytes}, {"connections", AddConnections}, {"transports", AddTransports},
    {"snapshots", AddSnapshots}};

bool Write(const std::string& path, const std::string& text) {
  if (path.empty()) return true;
  std::ofstream file(path);
  file << text;
  file.close();
  if (!file) fprintf(stderr, "ipcrpc_bench: cannot write %s\n", path.c_str());
  return static_cast<bool>(file);
}

int Main(int argc, char** argv) {
  Plan plan = {.rounds = 3, .seconds = 0.1, .client_cpu = 0, .server_cpu = -1};
  bool full = false, quick = false, tables = false;
  std::string json, markdown, html, only, in;
  std::vector<std::string> suites;
  CLI::App app("What calls, streams and connections cost, beside the floors and the rivals that were built. All suites, or some.");
  std::vector<std::string> names;
  for (const Suite& suite : kSuites) names.emplace_back(suite.name);
  app.add_option("suite", suites, "of " + CLI::detail::join(names, ", "))->check(CLI::IsMember(names));
  app.add_option("--rounds", plan.rounds, "interleaved rounds, of which medians are printed")
      ->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--seconds", plan.seconds, "measured time of each run")->check(CLI::Range(0.01, 60.0))->capture_default_str();
  app.add_flag("--full", full, "7 rounds of 0.5 s");
  app.add_flag("--quick", quick, "1 round of 0.03 s: to see that it works");
  app.add_option("--only", only, "only the rows whose name contains this (ratios need their base)");
  app.add_option("--in", in, "only the tables whose title contains this");
  app.add_flag("--tables", tables, "print all tables and not the summary alone");
  app.add_option("--json", json, "write every round's figures to this file")->take_last();
  app.add_option("--markdown", markdown, "write all tables to this file")->take_last();
  app.add_option("--html", html, "write a page with plots to this file; it needs nothing else")->take_last();
  CLI11_PARSE(app, argc, argv);
  if (full) plan.rounds = 7, plan.seconds = 0.5;
  if (quick) plan.rounds = 1, plan.seconds = 0.03;
  ChooseCpus("ipcrpc_bench", plan);

  CatchInterrupts();
  const ScratchDirectory directory;
  setenv("IPCRPC_RUNTIME_DIR", directory.path().c_str(), 1);
  Report report = {.machine = DescribeMachine(), .plan = plan, .tables = {}, .goals = {}, .summary = {}};
  const Setup setup = {directory.path(), BuiltSystems(directory.path()), plan.server_cpu >= 0};
  for (const Suite& suite : kSuites) {
    if (suites.empty() || std::find(suites.begin(), suites.end(), suite.name) != suites.end()) suite.add(setup, report);
  }
  for (Table& table : report.tables) {
    std::erase_if(table.rows, [&](const Row& row) { return row.name.find(only) == std::string::npos || table.title.find(in) == std::string::npos; });
  }

  const int failed = RunAll(plan, report.tables);
  if (failed < 0) {
    fprintf(stderr, "ipcrpc_bench: interrupted\n");
    return 130;
  }
  const std::string summary = SummaryText(report), all = TablesText(report);
  // Some suites have no column in the summary.
  printf("%s%s", tables || !suites.empty() ? all.c_str() : "", summary.c_str());
  const bool written = Write(json, JsonText(report)) && Write(markdown, all + summary) && Write(html, HtmlPage(report));
  return failed == 0 && written ? 0 : 1;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) { return ipcrpc::bench::Main(argc, argv); }
