// Connections: what it costs to make one, to have one, and to have many; and a process that makes one call.
#include "bench/handshake.h"
#include "bench/suites/suites.h"

namespace ipcrpc::bench {
namespace {

constexpr char kConnect[] = "connect, call, close";
constexpr char kBareConnect[] = "bare socket: connect, round trip, close";
constexpr char kMemoryConnect[] = "bare socket and memory: the same, a memfd each way";
constexpr size_t kSegmentBytes = 68 * 1024;  // a ring of 64 KiB and its head
constexpr char kOneShot[] = "a process that makes one call";
constexpr char kEmpty[] = "no call, the libraries of ";
constexpr char kIdle[] = "1,000 idle connections";
constexpr char kMany[] = "connections, called in random order";
constexpr uint32_t kIdleConnections = 1000;
constexpr uint32_t kManyConnections = 1024;

std::string Skewed(const std::string& system) { return system + ", 1,024, 95 % on 4"; }
std::string One(const std::string& system) { return system + ", 1"; }

void AddRate(const Setup& setup, Report& report) {
  Table table = {kConnect, Placement::kTwoCores, &ThroughputShape("connections"),
                 {Floor(kBareConnect, [path = setup.directory + "/bare"] { return BareHandshake(path); }, kBareConnect),
                  Floor(kMemoryConnect, [path = setup.directory + "/memory"] { return MemoryHandshake(path, kSegmentBytes); }, kBareConnect)}};
  for (const System& system : setup.systems) {
    if (system.connects) table.rows.push_back(RowOf(system, {.pattern = Pattern::kConnect}, kBareConnect));
  }
  AddTable(setup, report, std::move(table));
}

void AddOneShot(const Setup& setup, Report& report) {
  const auto empty = [](const System& system) { return kEmpty + system.name.substr(0, system.name.find(' ')); };
  Table table = {kOneShot, Placement::kTwoCores, &LatencyShape(), {}};
  for (const System& system : setup.systems) {
    if (system.name == kGrpcCallback || system.spins) continue;
    if (system.name == kShm || system.name == kGrpc) {
      table.rows.push_back(Floor(empty(system), [system] { return EmptyProcess(system.program); }, empty(setup.systems[0])));
    }
    Row row = RowOf(system, {}, empty(setup.systems[0]));
    row.make = [system] { return OneShot(system.program, system.endpoints()); };
    table.rows.push_back(std::move(row));
  }
  AddTable(setup, report, std::move(table));
  const auto two = Placement::kTwoCores;
  const RowName shm = {kOneShot, two, kShm};
  report.goals.push_back({"a process of one call: its time by that of an empty one", shm, RowName{kOneShot, two, empty(setup.systems[0])},
                          &Measured::p50_us, 2, false});
  report.goals.push_back({"a process of one call: its time by that of gRPC C++", shm, RowName{kOneShot, two, kGrpc}, &Measured::p50_us, 0.25, false});
}

void AddIdle(const Setup& setup, Report& report) {
  Table table = {kIdle, Placement::kTwoCores, &IdleShape(), {}};
  for (const System& system : setup.systems) {
    if (!system.connects || system.name == kGrpcCallback) continue;
    Row row = RowOf(system, {.pattern = Pattern::kIdle, .connections = kIdleConnections}, "");
    row.rounds_at_most = 1;  // memory does not vary, and connecting takes seconds
    table.rows.push_back(std::move(row));
  }
  AddTable(setup, report, std::move(table));
}

void AddMany(const Setup& setup, Report& report) {
  Table table = {kMany, Placement::kTwoCores, &LatencyShape(), {}};
  for (const System& system : setup.systems) {
    if (system.name != kShm && system.name != kUnix && system.name != kGrpc) continue;
    const auto add = [&](const std::string& name, uint32_t connections, bool skewed) {
      Row row = RowOf(system, {.connections = connections, .skewed = skewed}, One(system.name));
      row.name = name;
      table.rows.push_back(std::move(row));
    };
    add(One(system.name), 1, false);
    for (const uint32_t connections : {16u, 128u}) add(system.name + ", " + std::to_string(connections), connections, false);
    if (system.kind == Row::Kind::kRival) continue;
    add(system.name + ", 1,024", kManyConnections, false);
    add(Skewed(system.name), kManyConnections, true);
  }
  AddTable(setup, report, std::move(table));
}

}  // namespace

void AddConnections(const Setup& setup, Report& report) {
  AddRate(setup, report);
  AddOneShot(setup, report);
  AddIdle(setup, report);
  AddMany(setup, report);
  const auto two = Placement::kTwoCores;
  const RowName idle = {kIdle, two, kShm};
  report.goals.push_back({"connect, call, close: shm:'s rate by that of a bare socket", {kConnect, two, kShm}, RowName{kConnect, two, kBareConnect},
                          &Measured::calls_per_s, 0.9, true});
  report.goals.push_back({"connect, call, close: shm:'s rate by that of a bare socket that passes memory", {kConnect, two, kShm},
                          RowName{kConnect, two, kMemoryConnect}, &Measured::calls_per_s, 0.9, true});
  report.goals.push_back({"an idle connection: KiB of both sides", idle, std::nullopt, &Measured::kib, 24, false});
  report.goals.push_back({"1,000 idle connections: % of a processor (the clock that ends the wait is in it)", idle, std::nullopt, &Measured::cpu_percent, 0.1, false});
  report.goals.push_back({"1,024 connections, 95 % of calls on 4: p50 by that of one", {kMany, two, Skewed(kShm)}, RowName{kMany, two, One(kShm)},
                          &Measured::p50_us, 2, false});
}

}  // namespace ipcrpc::bench
