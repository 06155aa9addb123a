#include "bench/runner.h"

#include <sched.h>
#include <stdio.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <set>

#include "bench/cache_line.h"
#include "bench/machine.h"

namespace ipcrpc::bench {
namespace {

constexpr double kWarmupSeconds = 0.06;
constexpr double kPatienceSeconds = 15;  // beyond its planned time a run counts as hung

double Probe(const Plan& plan) { return plan.server_cpu < 0 ? 0 : ProbeCacheLineNs(plan.client_cpu, plan.server_cpu); }

// One process on each processor that takes all it gets. With the ordinary priority, also where the measured processes have a
// real-time one (chrt): else nobody would ever run again who might stop them.
std::vector<std::unique_ptr<Process>> StartHogs() {
  std::vector<std::unique_ptr<Process>> hogs;
  for (int cpu : AllowedCpus()) {
    hogs.push_back(std::make_unique<Process>(cpu, [] {
      const sched_param ordinary = {};
      if (sched_setscheduler(0, SCHED_OTHER, &ordinary) != 0) Fail("a hog cannot have the ordinary priority");
      for (;;) Pause();
    }));
  }
  return hogs;
}

Measured Summarise(const Sample& sample, double wall_s, double busy_s) {
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  const auto us = [&](double quantile) { return sample.latency.Quantile(quantile) / TicksPerMicrosecond(); };
  const auto calls = static_cast<double>(sample.latency.total());
  const bool idle = calls == 0;
  const auto each = [&](double sum) { return idle ? nothing : sum / calls; };
  const auto counted = [&](double sum) { return !sample.order.count || sum < 0 ? nothing : each(sum); };
  const double elapsed_s = static_cast<double>(sample.elapsed_ticks) / TicksPerMicrosecond() / 1e6;
  const double cpu_s = sample.client.cpu_seconds + sample.server.cpu_seconds;
  const double connections = sample.order.pattern == Pattern::kIdle ? sample.order.connections : nothing;
  const double client_syscalls = counted(sample.client_syscalls) * 1000, server_syscalls = counted(sample.server_syscalls) * 1000;
  const double client_allocations = counted(static_cast<double>(sample.client_allocated));
  const double server_allocations = counted(static_cast<double>(sample.server_allocated));
  const double client_kib = sample.client.resident_kib / connections, server_kib = sample.server.resident_kib / connections;
  return {
      .p50_us = us(0.5), .p99_us = us(0.99), .p999_us = us(0.999), .p9999_us = us(0.9999),
      .calls = calls, .calls_per_s = calls / elapsed_s, .mb_per_s = calls / elapsed_s * sample.order.bytes / 1e6,
      .cpu_us = each(cpu_s * 1e6), .cpu_percent = cpu_s / elapsed_s * 100,
      .faults = each(static_cast<double>(sample.client.faults + sample.server.faults) * 1000),
      .client_syscalls = client_syscalls, .server_syscalls = server_syscalls, .syscalls = client_syscalls + server_syscalls,
      .client_allocations = client_allocations, .server_allocations = server_allocations,
      .allocations = client_allocations + server_allocations,
      .client_kib = client_kib, .server_kib = server_kib, .kib = client_kib + server_kib,
      .probe_ns = 0, .probe_change = 1,
      // The warm-up uses the processors as the measured part does.
      .others_cores = std::max(0.0, busy_s / wall_s - cpu_s / elapsed_s)};
}

// False: it failed, and *error says how.
bool RunOne(const Plan& plan, Placement placement, const Row& row, Measured& result, std::string* error) {
  const bool pinned = placement == Placement::kTwoCores || placement == Placement::kOneCore;
  const int client_cpu = pinned ? plan.client_cpu : Process::kAnyCpu;
  const int server_cpu = placement == Placement::kTwoCores ? plan.server_cpu : client_cpu;
  const double ticks_per_s = TicksPerMicrosecond() * 1e6;
  const std::unique_ptr<Workload> workload = row.make();
  const SharedMemory memory(sizeof(Sample));
  Sample& sample = *memory.As<Sample>();
  sample.order = row.order;
  sample.ticks_per_us = TicksPerMicrosecond();
  sample.warmup_ticks = static_cast<uint64_t>(kWarmupSeconds * ticks_per_s);
  sample.measure_ticks = static_cast<uint64_t>(plan.seconds * ticks_per_s);

  const auto hogs = placement == Placement::kHogs ? StartHogs() : std::vector<std::unique_ptr<Process>>();
  ReadySignal ready;
  Process server(server_cpu, [&] { workload->Serve(ready, memory); });
  if (!ready.Await()) {
    *error = "the server did not start";
    return false;
  }
  sample.server_pid = server.pid();
  const double busy_before = BusySeconds();
  const uint64_t began = Now();
  Process client(client_cpu, [&] { workload->Drive(memory); });
  const bool done = client.Wait(plan.seconds + kWarmupSeconds + kPatienceSeconds);
  const double wall = static_cast<double>(Now() - began) / ticks_per_s;
  const double busy = BusySeconds() - busy_before;
  server.Terminate();
  if (!done || !sample.complete) {
    *error = "the client failed or hung";
    return false;
  }
  result = Summarise(sample, wall, busy);
  return true;
}

// With the probes around it; `before` is the one that ended the run before, and is replaced by the one after.
bool RunBracketed(const Plan& plan, const Table& table, Row& row, double& before) {
  Measured measured;
  std::string error;
  const bool done = RunOne(plan, table.placement, row, measured, &error);
  const double after = Probe(plan);
  measured.probe_ns = (before + after) / 2;
  if (before > 0 && after > 0) measured.probe_change = std::max(before, after) / std::min(before, after);
  before = after;
  if (done) row.rounds.push_back(measured);
  if (!done && !Interrupted()) {
    fprintf(stderr, "left out: '%s' of '%s', %s: %s\n", row.name.c_str(), table.title.c_str(), NameOf(table.placement), error.c_str());
  }
  return done;
}

}  // namespace

void ChooseCpus(const char* program, Plan& plan) {
  const std::vector<int> cpus = AllowedCpus();
  if (cpus.empty()) Fail("cannot tell on which processors this program may run");
  plan.client_cpu = cpus[0];
  plan.server_cpu = cpus.size() > 1 ? cpus[1] : -1;
  if (cpus.size() == 1) {
    fprintf(stderr, "%s: only one processor is allowed here, so there is nothing about two cores\n", program);
  }
}

int RunAll(const Plan& plan, std::vector<Table>& tables) {
  std::set<const Row*> failed;
  for (int round = 0; round < plan.rounds; ++round) {
    double before = Probe(plan);
    for (Table& table : tables) {
      for (Row& row : table.rows) {
        if (round >= row.rounds_at_most || failed.count(&row) != 0) continue;
        if (!RunBracketed(plan, table, row, before)) failed.insert(&row);
        if (Interrupted()) return -1;
      }
    }
  }
  return static_cast<int>(failed.size());
}

}  // namespace ipcrpc::bench
