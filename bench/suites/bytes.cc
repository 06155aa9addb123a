// Large payloads as bytes, where they lie: lent from a pool, or written once; beside those that are copied, and those of protobuf.
#include "bench/ring_echo.h"
#include "bench/suites/suites.h"

namespace ipcrpc::bench {
namespace {

constexpr uint32_t kBytes = 1 << 20;
constexpr char kEcho[] = "1 MiB of bytes each way, written and read";
constexpr char kHanded[] = "1 MiB of bytes each way, handed over";
constexpr char kFetched[] = "1 MiB of bytes fetched, written once";
constexpr char kCopied[] = ", copied";
constexpr char kLent[] = ", lent";
constexpr char kTrusting[] = ", lent, trust=peer";
constexpr char kRegistered[] = ", registered";

struct Transport {
  const char* name;
  const char* address;
};
constexpr Transport kTransports[] = {{kShm, "shm:bench"}, {kUnix, "unix:bench"}};

Row BytesRow(const std::string& name, const char* variant, const std::string& address, const std::string& base) {
  const System system = {name, Row::Kind::kOurs, FindProgram("ipcrpc_bytes", variant), [=] { return At(address); }};
  return RowOf(system, {.bytes = kBytes}, base);
}

void AddIceoryx(const Setup& setup, Table& table, const char* variant, const std::string& base) {
  for (System system : setup.systems) {
    if (system.name != kIceoryxPolling) continue;
    system.program.variant = variant;
    table.rows.push_back(RowOf(system, {.bytes = kBytes}, base));
  }
}

void AddSystem(const Setup& setup, Table& table, const char* name, const std::string& base) {
  for (const System& system : setup.systems) {
    if (system.name != name) continue;
    Row row = RowOf(system, {.bytes = kBytes}, base);
    row.name += ", protobuf";
    table.rows.push_back(std::move(row));
  }
}

}  // namespace

void AddBytes(const Setup& setup, Report& report) {
  const auto two = Placement::kTwoCores;
  const std::string base = std::string(kShm) + kCopied;
  Table echo = {kEcho, two, &LatencyShape(), {}};
  for (const Transport& transport : kTransports) {
    const std::string name = transport.name, address = transport.address;
    echo.rows.push_back(BytesRow(name + kCopied, "copied", address, base));
    echo.rows.push_back(BytesRow(name + kLent, "lent", address, base));
    echo.rows.push_back(BytesRow(name + kTrusting, "lent", address + "?trust=peer", base));
  }
  AddSystem(setup, echo, kShm, base);
  AddSystem(setup, echo, kGrpc, base);
  AddIceoryx(setup, echo, "bytes", base);
  AddTable(setup, report, std::move(echo));

  const std::string trusting = std::string(kShm) + kTrusting;
  Table handed = {kHanded, two, &LatencyShape(), {}};
  for (const Transport& transport : kTransports) {
    handed.rows.push_back(BytesRow(std::string(transport.name) + kTrusting, "handed", std::string(transport.address) + "?trust=peer", trusting));
  }
  AddIceoryx(setup, handed, "handed", trusting);
  AddTable(setup, report, std::move(handed));

  Table fetched = {kFetched, two, &LatencyShape(), {}};
  const std::string registered = std::string(kShm) + kRegistered;
  for (const Transport& transport : kTransports) {
    fetched.rows.push_back(BytesRow(std::string(transport.name) + kRegistered, "registered", transport.address, registered));
  }
  AddTable(setup, report, std::move(fetched));

  report.goals.push_back({"1 MiB of bytes each way: p50 of gRPC C++ by that of shm: lent, trust=peer",
                          {kEcho, two, std::string(kGrpc) + ", protobuf"}, RowName{kEcho, two, trusting}, &Measured::p50_us, 6, true});
}

}  // namespace ipcrpc::bench
