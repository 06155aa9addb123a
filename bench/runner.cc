#include "bench/runner.h"

#include <stdio.h>

#include <algorithm>

#include "bench/machine.h"
#include "bench/cache_line.h"

namespace ipcrpc::bench {
namespace {

constexpr double kWarmupSeconds = 0.06;
constexpr double kPatienceSeconds = 15;  // beyond its planned time a run counts as hung

double Probe(const Plan& plan) { return plan.server_cpu < 0 ? 0 : ProbeCacheLineNs(plan.client_cpu, plan.server_cpu); }

bool RunOne(const Plan& plan, const Row& row, Measured& result, std::string* error) {
  const int server_cpu = row.placement == Placement::kTwoCores ? plan.server_cpu : plan.client_cpu;
  const double ticks_per_s = TicksPerMicrosecond() * 1e6;
  const std::unique_ptr<Workload> workload = row.make();
  SharedMemory memory(sizeof(Sample));
  Sample& sample = *memory.As<Sample>();
  sample.warmup_ticks = static_cast<uint64_t>(kWarmupSeconds * ticks_per_s);
  sample.measure_ticks = static_cast<uint64_t>(plan.seconds * ticks_per_s);

  ReadySignal ready;
  Process server(server_cpu, [&] { workload->Serve(ready); });
  if (!ready.Await()) {
    *error = "the server of '" + row.name + "' did not start";
    return false;
  }
  sample.server_pid = server.pid();
  const double busy_before = BusySeconds();
  const uint64_t began = Now();
  Process client(plan.client_cpu, [&] { workload->Drive(memory); });
  const bool done = client.Wait(plan.seconds + kWarmupSeconds + kPatienceSeconds);
  const double wall = static_cast<double>(Now() - began) / ticks_per_s;
  const double busy = BusySeconds() - busy_before;
  server.Terminate();
  if (!done || !sample.complete) {
    *error = "the client of '" + row.name + "' failed or hung";
    return false;
  }

  const auto us = [&](double quantile) { return sample.latency.Quantile(quantile) / TicksPerMicrosecond(); };
  const auto calls = static_cast<double>(sample.latency.total());
  const double elapsed_s = static_cast<double>(sample.elapsed_ticks) / ticks_per_s;
  // The warm-up uses the processors as the measured part does.
  const double own_cores = sample.cpu_seconds / elapsed_s;
  result = {.p50_us = us(0.5), .p99_us = us(0.99), .p999_us = us(0.999), .calls = calls, .calls_per_s = calls / elapsed_s,
            .cpu_us = sample.cpu_seconds / calls * 1e6, .probe_ns = 0, .probe_change = 1,
            .others_cores = std::max(0.0, busy / wall - own_cores)};
  return true;
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

bool RunAll(const Plan& plan, std::vector<Row>& rows, std::string* error) {
  for (int round = 0; round < plan.rounds; ++round) {
    double before = Probe(plan);
    for (Row& row : rows) {
      Measured measured;
      if (!RunOne(plan, row, measured, error)) return false;
      const double after = Probe(plan);
      if (Interrupted()) return false;
      measured.probe_ns = (before + after) / 2;
      if (before > 0 && after > 0) measured.probe_change = std::max(before, after) / std::min(before, after);
      row.rounds.push_back(measured);
      before = after;
    }
  }
  return true;
}

}  // namespace ipcrpc::bench
