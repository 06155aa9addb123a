// unary_bench: what a unary call of 64 bytes costs over shm: and unix:, beside the floors and rivals, in one run.
#include <stdio.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>

#include "bench/bare.h"
#include "bench/cache_line.h"
#include "bench/grpc_rival.h"
#include "bench/machine.h"
#include "bench/report.h"
#include "bench/ring_echo.h"
#include "bench/rpc_echo.h"
#include "bench/scratch_directory.h"

namespace ipcrpc::bench {
namespace {

constexpr char kCacheLine[] = "cache line ping-pong";
constexpr char kFutex[] = "futex ping-pong";
constexpr char kSocket[] = "unix socket ping-pong";
constexpr char kRingSpin[] = "ring + protobuf, spin";
constexpr char kRingSpinFutex[] = "ring + protobuf, spin 50 us then futex";
constexpr char kRingFutex[] = "ring + protobuf, futex";
constexpr char kShm[] = "ipcrpc shm:";
constexpr char kUnix[] = "ipcrpc unix:";
constexpr char kGrpc[] = "gRPC C++ unix:";

std::vector<Row> MakeRows(const Plan& plan, const std::string& directory, const std::string& only) {
  std::vector<Row> rows;
  const auto add = [&](const std::string& name, Placement placement, WorkloadFactory make) {
    if (name.find(only) != std::string::npos) rows.push_back({name, placement, std::move(make), {}});
  };
  const auto add_grpc = [&](Placement placement) {
    const std::string program = GrpcEchoProgram();
    if (!program.empty()) add(kGrpc, placement, [=] { return GrpcEcho(program, directory + "/grpc.sock"); });
  };
  const auto shm = [] { return RpcEcho(At("shm:unary")); };
  const auto unix_socket = [] { return RpcEcho(At("unix:unary")); };
  const auto futex = [] { return BareUnary(FindBare("futex").make); };
  const auto socket = [] { return BareUnary(FindBare("socket pair").make); };
  const auto ring_spin_futex = [] { return RingEcho({.spin_us = 50}); };
  // Like beside like: the host may move a processor at any time, and what is compared should run close together.
  if (plan.server_cpu >= 0) {
    const auto two = Placement::kTwoCores;
    add(kCacheLine, two, CacheLinePingPong);
    add(kRingSpin, two, [] { return RingEcho({.forever = true}); });
    add(kShm, two, shm);
    add(kRingSpinFutex, two, ring_spin_futex);
    add(kFutex, two, futex);
    add(kSocket, two, socket);
    add(kUnix, two, unix_socket);
    add_grpc(two);
  }
  const auto one = Placement::kOneCore;
  add(kFutex, one, futex);
  add(kRingFutex, one, [] { return RingEcho({}); });
  add(kShm, one, shm);
  add(kRingSpinFutex, one, ring_spin_futex);
  add(kSocket, one, socket);
  add(kUnix, one, unix_socket);
  add_grpc(one);
  return rows;
}

std::vector<Goal> Goals() {
  const auto two = Placement::kTwoCores;
  return {
      {"two cores: p50 of shm: by that of ring + protobuf, spin", kShm, kRingSpin, two, &Measured::p50_us, 2, false},
      {"two cores: p99.9 of shm: by that of spin 50 us then futex", kShm, kRingSpinFutex, two, &Measured::p999_us, 2, false},
      {"two cores: p50 of gRPC C++ over a Unix socket by that of shm:", kShm, kGrpc, two, &Measured::p50_us, 200, true},
      {"one core: p50 of shm: by that of a futex ping-pong", kShm, kFutex, Placement::kOneCore, &Measured::p50_us, 1.3, false},
  };
}

int Main(int argc, char** argv) {
  Plan plan = {.rounds = 7, .seconds = 0.5, .client_cpu = 0, .server_cpu = -1};
  bool quick = false;
  std::string json, only;
  CLI::App app("A unary echo over shm: and unix: beside floors and rivals, on two cores and on one.");
  app.add_option("--rounds", plan.rounds, "interleaved rounds, of which medians are printed")
      ->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--seconds", plan.seconds, "measured time of each run")->check(CLI::Range(0.01, 60.0))->capture_default_str();
  app.add_flag("--quick", quick, "3 rounds of 0.1 s: to see that it works");
  app.add_option("--only", only, "only the rows whose name contains this (ratios need their floor)");
  app.add_option("--json", json, "also write every round's figures to this file");
  CLI11_PARSE(app, argc, argv);
  if (quick) {
    plan.rounds = 3;
    plan.seconds = 0.1;
  }
  ChooseCpus("unary_bench", plan);

  CatchInterrupts();
  const ScratchDirectory directory;
  setenv("IPCRPC_RUNTIME_DIR", directory.path().c_str(), 1);
  Report report = {.machine = DescribeMachine(), .plan = plan, .rows = MakeRows(plan, directory.path(), only), .goals = Goals(),
                   .two_core_floor = kRingSpin, .one_core_floor = kFutex};
  if (std::string error; !RunAll(plan, report.rows, &error)) {
    fprintf(stderr, "unary_bench: %s\n", Interrupted() ? "interrupted" : error.c_str());
    return Interrupted() ? 130 : 1;
  }
  PrintTable(report);
  if (!json.empty() && !WriteJson(report, json)) {
    fprintf(stderr, "unary_bench: cannot write %s\n", json.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) { return ipcrpc::bench::Main(argc, argv); }
