// transports_bench: the same unary and streaming echo over every transport and part of one, each beside the mechanism
// that it stands on, used bare.
#include <stdio.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>

#include "bench/bare.h"
#include "bench/machine.h"
#include "bench/report.h"
#include "bench/rpc_echo.h"
#include "bench/scratch_directory.h"

namespace ipcrpc::bench {
namespace {

constexpr size_t kStreamBytes = 64 * 1024;
constexpr char kUnary[] = " unary";
constexpr char kStream[] = " stream";
constexpr char kBare[] = "bare ";

struct Transport {
  std::string name;
  EndpointsFactory endpoints;
  std::string bare;          // the mechanism beneath
  double one_core_goal = 0;  // p50 by that of the bare mechanism, at most; 0: none is set
  bool one_process = false;
};

std::vector<Transport> Transports() {
  const auto at = [](const char* address) { return [address] { return At(address); }; };
  return {
      {"shm", at("shm:bench"), "futex"},
      {"shm segment=posix", at("shm:bench?segment=posix"), "futex"},
      {"shm segment=sysv", at("shm:bench?segment=sysv"), "futex"},
      {"shm wake=eventfd", at("shm:bench?wake=eventfd"), "eventfd"},
      {"shm wake=sem", at("shm:bench?wake=sem"), "POSIX semaphores"},
      {"shm wake=sysvsem", at("shm:bench?wake=sysvsem"), "System V semaphores"},
      {"unix", at("unix:bench"), "socket pair", 1.35},
      {"socketpair", InheritedSocketPair, "socket pair", 1.35},
      {"pipe", InheritedPipes, "pipes", 1.35},
      {"fifo", at("fifo:bench"), "pipes", 1.35},
      {"mqueue", at("mqueue:bench"), "POSIX queues", 1.35},
      {"sysvmq", at("sysvmq:bench"), "System V queues"},
      {"netlink", at("netlink:bench"), "netlink"},
      {"inproc", at("inproc:bench"), "futex", 0, /*one_process=*/true},
  };
}

bool Wanted(const std::string& name, const std::vector<std::string>& only) {
  return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
}

// Bare and not, side by side; in the order of the table, so that what is compared runs close together.
void AddRows(const Plan& plan, const Transport& transport, std::vector<Row>& rows) {
  const auto add = [&](const std::string& name, Placement placement, WorkloadFactory make) {
    const bool there = std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name && row.placement == placement; });
    if (!there) rows.push_back({name, placement, std::move(make), {}});
  };
  const BareMechanism& bare = FindBare(transport.bare);
  const auto rpc = [transport](std::unique_ptr<Workload> workload) {
    return transport.one_process ? InOneProcess(std::move(workload), transport.endpoints().server_address) : std::move(workload);
  };
  const WorkloadFactory unary = [=] { return rpc(RpcEcho(transport.endpoints())); };
  const WorkloadFactory stream = [=] { return rpc(RpcStream(transport.endpoints(), kStreamBytes)); };
  for (const Placement placement : {Placement::kOneCore, Placement::kTwoCores}) {
    // One process is on one processor here.
    if (placement == Placement::kTwoCores && (plan.server_cpu < 0 || transport.one_process)) continue;
    add(kBare + bare.name + kUnary, placement, [&bare] { return BareUnary(bare.make); });
    add(transport.name + kUnary, placement, unary);
    if (bare.carries_bytes) {
      add(kBare + bare.name + kStream, placement, [&bare] { return BareStream(bare.make, kStreamBytes); });
    }
    add(transport.name + kStream, placement, stream);
  }
}

struct Figures {
  double p50, p99, calls_per_s, cpu_us;
};
std::optional<Figures> FiguresOf(const Report& report, const std::string& name, Placement placement) {
  const Row* row = Find(report, name, placement);
  if (row == nullptr) return std::nullopt;
  return Figures{MedianOf(*row, &Measured::p50_us), MedianOf(*row, &Measured::p99_us),
                 MedianOf(*row, &Measured::calls_per_s), MedianOf(*row, &Measured::cpu_us)};
}

std::string Text(const std::optional<Figures>& figures, double Figures::*figure) {
  return figures.has_value() ? Number(*figures.*figure) : "-";
}

std::string MegabytesPerSecond(const std::optional<Figures>& figures) {
  return figures.has_value() ? Number(figures->calls_per_s * kStreamBytes / 1e6) : "-";
}

void PrintPlacement(const Report& report, const std::vector<Transport>& transports, Placement placement) {
  printf("\n| %s | p50 us | bare p50 | x bare | p99 | bare p99 | calls/s | CPU us/call | bare CPU | stream MB/s | bare MB/s | CPU us/message |\n",
         placement == Placement::kOneCore ? "one core" : "two cores");
  printf("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  for (const Transport& transport : transports) {
    const auto unary = FiguresOf(report, transport.name + kUnary, placement);
    if (!unary.has_value()) continue;
    const auto stream = FiguresOf(report, transport.name + kStream, placement);
    const auto bare_unary = FiguresOf(report, kBare + transport.bare + kUnary, placement);
    const auto bare_stream = FiguresOf(report, kBare + transport.bare + kStream, placement);
    const std::optional<Ratio> ratio =
        RatioOf(*Find(report, transport.name + kUnary, placement),
                *Find(report, kBare + transport.bare + kUnary, placement), &Measured::p50_us);
    printf("| %s | %s | %s | %s | %s | %s | %.0f | %s | %s | %s | %s | %s |\n", transport.name.c_str(),
           Text(unary, &Figures::p50).c_str(), Text(bare_unary, &Figures::p50).c_str(),
           ratio.has_value() ? Number(ratio->median).c_str() : "-", Text(unary, &Figures::p99).c_str(),
           Text(bare_unary, &Figures::p99).c_str(), unary->calls_per_s, Text(unary, &Figures::cpu_us).c_str(),
           Text(bare_unary, &Figures::cpu_us).c_str(), MegabytesPerSecond(stream).c_str(),
           MegabytesPerSecond(bare_stream).c_str(), Text(stream, &Figures::cpu_us).c_str());
  }
}

int Main(int argc, char** argv) {
  Plan plan = {.rounds = 5, .seconds = 0.2, .client_cpu = 0, .server_cpu = -1};
  bool quick = false;
  std::string json;
  std::vector<std::string> only;
  CLI::App app("A unary echo of 64 bytes and a streaming echo of 64 KiB over every transport, beside the bare mechanisms.");
  app.add_option("--rounds", plan.rounds, "interleaved rounds, of which medians are printed")
      ->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--seconds", plan.seconds, "measured time of each run")->check(CLI::Range(0.01, 60.0))->capture_default_str();
  app.add_flag("--quick", quick, "1 round of 0.05 s: to see that it works");
  app.add_option("--only", only, "only these rows of the table");
  app.add_option("--json", json, "also write every round's figures to this file");
  CLI11_PARSE(app, argc, argv);
  if (quick) plan.rounds = 1, plan.seconds = 0.05;
  ChooseCpus("transports_bench", plan);

  CatchInterrupts();
  const ScratchDirectory directory;
  setenv("IPCRPC_RUNTIME_DIR", directory.path().c_str(), 1);
  std::vector<Transport> transports = Transports();
  std::erase_if(transports, [&](const Transport& transport) { return !Wanted(transport.name, only); });
  Report report = {.machine = DescribeMachine(), .plan = plan, .rows = {}, .goals = {}, .two_core_floor = "", .one_core_floor = ""};
  for (const Transport& transport : transports) {
    AddRows(plan, transport, report.rows);
    if (transport.one_core_goal == 0) continue;
    report.goals.push_back({"one core: unary p50 of " + transport.name + " by that of its bare mechanism", transport.name + kUnary,
                            kBare + transport.bare + kUnary, Placement::kOneCore, &Measured::p50_us, transport.one_core_goal, false});
  }
  if (std::string error; !RunAll(plan, report.rows, &error)) {
    fprintf(stderr, "transports_bench: %s\n", Interrupted() ? "interrupted" : error.c_str());
    return Interrupted() ? 130 : 1;
  }
  printf("unary echo of %zu bytes, streaming echo of %zu KiB messages; medians of %d interleaved rounds of %.2f s\n%s\n",
         kPayloadBytes, kStreamBytes / 1024, plan.rounds, plan.seconds, report.machine.c_str());
  PrintPlacement(report, transports, Placement::kOneCore);
  PrintPlacement(report, transports, Placement::kTwoCores);
  printf("\nbare: the mechanism alone, blocking system calls and the same bytes (for parts that only wake: no bytes at all);\n"
         "x bare: p50 by the bare p50 of the same round; CPU: both processes; MB/s: each byte goes there and back\n\n");
  PrintGoals(report);
  if (!json.empty() && !WriteJson(report, json)) {
    fprintf(stderr, "transports_bench: cannot write %s\n", json.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) { return ipcrpc::bench::Main(argc, argv); }
