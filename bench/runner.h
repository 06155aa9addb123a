// Runs workloads in interleaved rounds, each run bracketed by the cache-line probe.
#pragma once

#include <climits>
#include <string>
#include <vector>

#include "bench/workload.h"

namespace ipcrpc::bench {

enum class Placement {
  kTwoCores,  // the client on the first processor, the server on the second
  kOneCore,   // both on the first
  kFree,      // wherever the kernel puts them
  kHogs,      // the same, and on every processor another process spins
};
inline const char* NameOf(Placement placement) {
  switch (placement) {
    case Placement::kTwoCores: return "two cores";
    case Placement::kOneCore: return "one core";
    case Placement::kFree: return "free";
    case Placement::kHogs: return "hogs";
  }
  return "";
}

// What one run found. NaN: not measured there.
struct Measured {
  double p50_us, p99_us, p999_us, p9999_us;
  double calls, calls_per_s, mb_per_s;
  double cpu_us;                            // both sides, for each call
  double cpu_percent;                       // of one processor, both sides
  double faults;                            // both sides, for each 1,000 calls
  double client_syscalls, server_syscalls, syscalls;           // for each 1,000 calls; of both
  double client_allocations, server_allocations, allocations;  // for each call; of both
  double client_kib, server_kib, kib;                          // resident memory that one connection added; of both
  double probe_ns;       // the mean of the probes before and after; 0 on a machine with one processor
  double probe_change;   // the larger of the two by the smaller
  double others_cores;   // processors kept busy by everybody else meanwhile
};

struct Row {
  enum class Kind { kFloor, kOurs, kRival };

  std::string name;
  Kind kind;
  Order order;
  WorkloadFactory make;
  std::string base = {};      // the row of the same table that ratios are to; empty: none
  int rounds_at_most = INT_MAX;
  std::vector<Measured> rounds = {};  // empty: it did not run
};

struct Shape;  // report.h

// Rows that are compared: the host may move a processor at any time, so these run one after the other in each round.
struct Table {
  std::string title;  // of one placement's tables no two are alike
  Placement placement;
  const Shape* shape;
  std::vector<Row> rows;
};

struct Plan {
  int rounds;
  double seconds;  // of each run, after a warm-up
  int client_cpu;
  int server_cpu;  // of two cores; -1: there is only one
};

// The first two processors that this program may run on; says so on stderr when there is only one.
void ChooseCpus(const char* program, Plan& plan);

// Fills the tables' rows. A row that fails is said on stderr and not run again; how many did is returned, or -1 when the
// program was interrupted.
int RunAll(const Plan& plan, std::vector<Table>& tables);

}  // namespace ipcrpc::bench
