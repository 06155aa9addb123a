// What is measured: each suite adds its tables, its goals and its columns of the summary.
#pragma once

#include <string>
#include <vector>

#include "bench/report.h"
#include "bench/suites/systems.h"

namespace ipcrpc::bench {

struct Setup {
  std::string directory;  // for sockets
  std::vector<System> systems;
  bool two_processors;
};

void AddUnary(const Setup& setup, Report& report);
void AddStreams(const Setup& setup, Report& report);
void AddBytes(const Setup& setup, Report& report);
void AddConnections(const Setup& setup, Report& report);
void AddTransports(const Setup& setup, Report& report);
void AddSnapshots(const Setup& setup, Report& report);

// A floor's row.
inline Row Floor(const std::string& name, WorkloadFactory make, const std::string& base, size_t bytes = Order().bytes) {
  return {.name = name, .kind = Row::Kind::kFloor, .order = {.bytes = static_cast<uint32_t>(bytes)}, .make = std::move(make), .base = base};
}

// Not what needs two processors where there is one.
inline void AddTable(const Setup& setup, Report& report, Table table) {
  if (setup.two_processors || table.placement != Placement::kTwoCores) report.tables.push_back(std::move(table));
}

}  // namespace ipcrpc::bench
