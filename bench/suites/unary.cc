// A call at a time: sizes and placements beside floors and rivals; threads on one channel, calls in flight; what a call
// takes besides time.
#include "bench/bare.h"
#include "bench/cache_line.h"
#include "bench/ring_echo.h"
#include "bench/suites/suites.h"

namespace ipcrpc::bench {
namespace {

constexpr char kCacheLine[] = "cache line ping-pong";
constexpr char kCopy[] = "shared-memory copy, spin";
constexpr char kRingSpin[] = "ring + protobuf, spin";
constexpr char kRingSpinFutex[] = "ring + protobuf, spin 50 µs then futex";
constexpr char kRingFutex[] = "ring + protobuf, futex";
constexpr char kFutex[] = "futex ping-pong";
constexpr char kSocket[] = "unix socket ping-pong";
constexpr char kShmNoSpin[] = "ipcrpc shm:, spin=off";
constexpr char kOneThread[] = ", 1 thread";
constexpr char k64B[] = "unary 64 B";
constexpr char k1MiB[] = "unary 1 MiB";
constexpr char kThreads[] = "threads on one channel, unary 64 B";
constexpr char kOneInFlight[] = ", 1 in flight";
constexpr char k64InFlight[] = ", 64 in flight";
constexpr char kInFlight[] = "calls in flight by callbacks, unary 64 B";
constexpr char kCounts[] = "what a unary call takes besides time";

Row CacheLineRow() { return Floor(kCacheLine, CacheLinePingPong, kRingSpin); }
Row CopyRow(size_t bytes) {
  return Floor(kCopy, [=] { return SharedMemoryEcho(bytes); }, kRingSpin, bytes);
}
Row RingRow(const char* name, RingWait wait, const char* base, size_t bytes) {
  return Floor(name, [=] { return RingEcho(bytes, wait); }, base, bytes);
}
Row FutexRow(const char* base) {
  return Floor(kFutex, [] { return BareUnary(FindBare("futex").make); }, base);
}
Row SocketRow(const char* base) {
  return Floor(kSocket, [] { return BareUnary(FindBare("socket pair").make); }, base);
}

void AddSystems(const Setup& setup, Table& table, const Order& order, const char* base) {
  for (const System& system : setup.systems) {
    if (!system.spins || table.placement != Placement::kOneCore) table.rows.push_back(RowOf(system, order, base));
  }
}

void AddPlacements(const Setup& setup, Report& report) {
  const Order order;
  Table two = {k64B, Placement::kTwoCores, &LatencyShape(),
               {CacheLineRow(), CopyRow(order.bytes), RingRow(kRingSpin, {.forever = true}, kRingSpin, order.bytes),
                RingRow(kRingSpinFutex, {.spin_us = 50}, kRingSpin, order.bytes), FutexRow(kRingSpin), SocketRow(kRingSpin),
                RowOf(OursAt(kShmNoSpin, "shm:bench?spin=off"), order, kRingSpin)}};
  // Beside its floor.
  two.rows.insert(two.rows.begin() + 3, RowOf(setup.systems[0], order, kRingSpin));
  for (size_t i = 1; i < setup.systems.size(); ++i) two.rows.push_back(RowOf(setup.systems[i], order, kRingSpin));
  AddTable(setup, report, std::move(two));

  Table one = {k64B, Placement::kOneCore, &LatencyShape(),
               {FutexRow(kFutex), RingRow(kRingFutex, {}, kFutex, order.bytes), SocketRow(kFutex)}};
  one.rows.push_back(RowOf(OursAt(kShmNoSpin, "shm:bench?spin=off"), order, kFutex));
  AddSystems(setup, one, order, kFutex);
  AddTable(setup, report, std::move(one));

  for (const Placement placement : {Placement::kFree, Placement::kHogs}) {
    Table table = {k64B, placement, &LatencyShape(), {FutexRow(kFutex), RingRow(kRingSpinFutex, {.spin_us = 50}, kFutex, order.bytes)}};
    table.rows.push_back(RowOf(OursAt(kShmNoSpin, "shm:bench?spin=off"), order, kFutex));
    AddSystems(setup, table, order, kFutex);
    AddTable(setup, report, std::move(table));
  }
}

void AddSizes(const Setup& setup, Report& report) {
  const std::pair<const char*, uint32_t> kSizes[] = {{"unary 4 KiB", 4 << 10}, {"unary 64 KiB", 64 << 10}, {k1MiB, 1 << 20}};
  for (const auto& [title, bytes] : kSizes) {
    Table table = {title, Placement::kTwoCores, &LatencyShape(), {CopyRow(bytes), RingRow(kRingSpin, {.forever = true}, kRingSpin, bytes)}};
    AddSystems(setup, table, {.bytes = bytes}, kRingSpin);
    AddTable(setup, report, std::move(table));
  }
}

void AddThreads(const Setup& setup, Report& report) {
  Table table = {kThreads, Placement::kFree, &ThroughputShape("calls"), {}};
  for (const System& system : setup.systems) {
    if (system.name != kShm && system.name != kUnix && system.name != kGrpc && system.name != kGrpcCallback) continue;
    for (const uint32_t threads : {1u, 4u, 16u}) {
      Row row = RowOf(system, {.threads = threads}, system.name + kOneThread);
      row.name = threads == 1 ? row.base : system.name + ", " + std::to_string(threads) + " threads";
      table.rows.push_back(std::move(row));
    }
    if (system.name != kShm && system.name != kGrpcCallback) continue;
    for (const uint32_t threads : {1u, 4u}) {
      Row row = RowOf(system, {.in_flight = 64, .drivers = threads}, system.name + kOneThread + k64InFlight);
      row.name = threads == 1 ? row.base : system.name + ", " + std::to_string(threads) + " threads" + k64InFlight;
      table.rows.push_back(std::move(row));
    }
  }
  AddTable(setup, report, std::move(table));
}

void AddInFlight(const Setup& setup, Report& report) {
  Table table = {kInFlight, Placement::kFree, &ThroughputShape("calls"), {}};
  for (const System& system : setup.systems) {
    if (system.name != kShm && system.name != kUnix && system.name != kGrpcCallback) continue;
    for (const uint32_t calls : {1u, 4u, 16u, 64u}) {
      Row row = RowOf(system, {.in_flight = calls}, system.name + kOneInFlight);
      row.name = calls == 1 ? row.base : system.name + ", " + std::to_string(calls) + " in flight";
      table.rows.push_back(std::move(row));
    }
  }
  AddTable(setup, report, std::move(table));
}

// Without payload, so that no string of a message's own is among what is allocated; and with.
void AddCounts(const Setup& setup, Report& report) {
  Table table = {kCounts, Placement::kTwoCores, &CountsShape(), {}};
  for (const System& system : setup.systems) {
    for (const uint32_t bytes : {0u, 64u}) {
      if (bytes == 0 && system.kind == Row::Kind::kRival) continue;
      Row row = RowOf(system, {.bytes = bytes, .count = true}, "");
      if (bytes == 0) row.name += ", no payload";
      table.rows.push_back(std::move(row));
    }
  }
  AddTable(setup, report, std::move(table));
}

void AddGoals(Report& report) {
  const auto two = Placement::kTwoCores;
  const auto p50 = &Measured::p50_us;
  const auto in = [](const char* table, const std::string& row, Placement placement = Placement::kTwoCores) {
    return RowName{table, placement, row};
  };
  const RowName shm = in(k64B, kShm), counted = in(kCounts, std::string(kShm) + ", no payload");
  const std::vector<Goal> goals = {
      {"64 B, two cores: p50 of shm: by that of ring + protobuf, spin", shm, in(k64B, kRingSpin), p50, 2, false},
      {"64 B, two cores: p50 of gRPC C++ by that of shm:", in(k64B, kGrpc), shm, p50, 200, true},
      {"64 B, two cores: p50 of iceoryx polling by that of shm:", in(k64B, kIceoryxPolling), shm, p50, 3, true},
      {"64 B, two cores: p99.9 of shm: by that of spin 50 µs then futex", shm, in(k64B, kRingSpinFutex), &Measured::p999_us, 2, false},
      {"64 B, one core: p50 of shm: by that of a futex ping-pong", in(k64B, kShm, Placement::kOneCore), in(k64B, kFutex, Placement::kOneCore),
       p50, 1.3, false},
      {"64 B, two cores, spin=off: p50 by that of a futex ping-pong", in(k64B, kShmNoSpin), in(k64B, kFutex), p50, 1.15, false},
      {"64 B, one core: p50 of shm: by that of spin=off", in(k64B, kShm, Placement::kOneCore), in(k64B, kShmNoSpin, Placement::kOneCore), p50,
       1.1, false},
      {"64 B, one core: p99 of shm: by that of spin=off", in(k64B, kShm, Placement::kOneCore), in(k64B, kShmNoSpin, Placement::kOneCore),
       &Measured::p99_us, 1.25, false},
      {"64 B, hogs: p50 of shm: by that of spin=off", in(k64B, kShm, Placement::kHogs), in(k64B, kShmNoSpin, Placement::kHogs), p50, 1.1, false},
      {"64 B, hogs: p99 of shm: by that of spin=off", in(k64B, kShm, Placement::kHogs), in(k64B, kShmNoSpin, Placement::kHogs),
       &Measured::p99_us, 1.25, false},
      {"64 calls in flight: calls/s of shm:", in(kInFlight, std::string(kShm) + k64InFlight, Placement::kFree), std::nullopt,
       &Measured::calls_per_s, 1.5e6, true},
      {"64 calls in flight: calls/s of shm: by those of gRPC C++ callback", in(kInFlight, std::string(kShm) + k64InFlight, Placement::kFree),
       in(kInFlight, std::string(kGrpcCallback) + k64InFlight, Placement::kFree), &Measured::calls_per_s, 80, true},
      {"4 threads on one channel: calls/s by those of one thread", in(kThreads, std::string(kShm) + ", 4 threads", Placement::kFree),
       in(kThreads, std::string(kShm) + kOneThread, Placement::kFree), &Measured::calls_per_s, 0.5, true},
      {"4 threads on one channel, 64 calls in flight: calls/s by those of one thread",
       in(kThreads, std::string(kShm) + ", 4 threads" + k64InFlight, Placement::kFree),
       in(kThreads, std::string(kShm) + kOneThread + k64InFlight, Placement::kFree), &Measured::calls_per_s, 1, true},
      {"1 MiB, two cores: p50 of shm: by that of ring + protobuf, spin", in(k1MiB, kShm), in(k1MiB, kRingSpin), p50, 1.3, false},
      {"1 MiB, two cores: p50 of gRPC C++ by that of shm:", in(k1MiB, kGrpc), in(k1MiB, kShm), p50, 6, true},
      {"64 B, two cores: processor seconds of both sides for 10⁶ calls", shm, std::nullopt, &Measured::cpu_us, 3, false},
      {"64 B, two cores: system calls of both sides for 1,000 calls", counted, std::nullopt, &Measured::syscalls, 3, false},
      {"64 B, two cores: allocations of both sides for a call without payload", counted, std::nullopt, &Measured::allocations, 0, false},
      {"64 B, two cores: page faults of both sides for 1,000 calls", shm, std::nullopt, &Measured::faults, 0, false},
  };
  report.goals.insert(report.goals.end(), goals.begin(), goals.end());
  report.summary = {{"two cores", k64B, two}, {"one core", k64B, Placement::kOneCore}, {"free", k64B, Placement::kFree},
                    {"hogs", k64B, Placement::kHogs}, {"4 KiB", "unary 4 KiB", two}, {"64 KiB", "unary 64 KiB", two},
                    {"1 MiB", k1MiB, two}};
}

}  // namespace

void AddUnary(const Setup& setup, Report& report) {
  AddPlacements(setup, report);
  AddSizes(setup, report);
  AddThreads(setup, report);
  AddInFlight(setup, report);
  AddCounts(setup, report);
  AddGoals(report);
}

}  // namespace ipcrpc::bench
