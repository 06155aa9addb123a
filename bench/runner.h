// Runs workloads in interleaved rounds, each run bracketed by the cache-line probe.
#pragma once

#include <string>
#include <vector>

#include "bench/workload.h"

namespace ipcrpc::bench {

enum class Placement { kTwoCores, kOneCore };

// What one run found.
struct Measured {
  double p50_us, p99_us, p999_us;
  double calls, calls_per_s;
  double cpu_us;         // both sides, for each call
  double probe_ns;       // the mean of the probes before and after; 0 on a machine with one processor
  double probe_change;   // the larger of the two by the smaller
  double others_cores;   // processors kept busy by everybody else meanwhile
};

struct Row {
  std::string name;
  Placement placement;
  WorkloadFactory make;
  std::vector<Measured> rounds;
};

struct Plan {
  int rounds;
  double seconds;  // of each run, after a warm-up
  int client_cpu;
  int server_cpu;  // of two cores; -1: there is only one
};

// The first two processors that this program may run on; says so on stderr when there is only one.
void ChooseCpus(const char* program, Plan& plan);

// Fills `rows`. False: a run failed, and *error says which, or the program was interrupted.
bool RunAll(const Plan& plan, std::vector<Row>& rows, std::string* error);

}  // namespace ipcrpc::bench
