// Every transport and part of one, each beside the mechanism that it stands on, used bare.
#include <algorithm>

#include "bench/bare.h"
#include "bench/suites/suites.h"

namespace ipcrpc::bench {
namespace {

constexpr char kUnary[] = "transports, unary 64 B";
constexpr char kStream[] = "transports, bidirectional echo 64 KiB";
constexpr uint32_t kStreamBytes = 64 << 10;

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
      {"fifo", at("fifo:bench"), "FIFOs", 1.35},
      {"mqueue", at("mqueue:bench"), "POSIX queues", 1.35},
      {"sysvmq", at("sysvmq:bench"), "System V queues"},
      {"netlink", at("netlink:bench"), "netlink"},
      {"inproc", at("inproc:bench"), "futex", 0, /*one_process=*/true},
  };
}

std::string BareName(const Transport& transport) { return "bare " + transport.bare; }

Table TableOf(const std::string& title, Placement placement, const Order& order) {
  const bool stream = order.pattern == Pattern::kBidiStream;
  const Program program = FindProgram("ipcrpc_echo", "sync");
  Table table = {title, placement, stream ? &ThroughputShape("messages") : &LatencyShape(), {}};
  for (const Transport& transport : Transports()) {
    if (transport.one_process && placement == Placement::kTwoCores) continue;
    const BareMechanism& bare = FindBare(transport.bare);
    const bool there = std::any_of(table.rows.begin(), table.rows.end(), [&](const Row& row) { return row.name == BareName(transport); });
    if (!there && (!stream || bare.carries_bytes)) {
      table.rows.push_back(Floor(BareName(transport), [&bare, stream] { return stream ? BareStream(bare.make, kStreamBytes) : BareUnary(bare.make); },
                                 BareName(transport), order.bytes));
    }
    const auto run = [program, transport] {
      return transport.one_process ? RunInOneProcess(program, transport.endpoints().client_address)
                                   : RunProgram(program, transport.endpoints());
    };
    table.rows.push_back({.name = transport.name, .kind = Row::Kind::kOurs, .order = order, .make = run, .base = BareName(transport)});
  }
  return table;
}

}  // namespace

void AddTransports(const Setup& setup, Report& report) {
  for (const Placement placement : {Placement::kOneCore, Placement::kTwoCores}) {
    AddTable(setup, report, TableOf(kUnary, placement, {}));
    AddTable(setup, report, TableOf(kStream, placement, {.pattern = Pattern::kBidiStream, .bytes = kStreamBytes}));
  }
  for (const Transport& transport : Transports()) {
    if (transport.one_core_goal == 0) continue;
    const auto row = [](const std::string& name) { return RowName{kUnary, Placement::kOneCore, name}; };
    report.goals.push_back({"64 B, one core: p50 of " + transport.name + ": by that of its bare mechanism", row(transport.name),
                            row(BareName(transport)), &Measured::p50_us, transport.one_core_goal, false});
  }
}

}  // namespace ipcrpc::bench
