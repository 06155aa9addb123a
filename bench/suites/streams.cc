// Streams of each kind, of small and of large messages.
#include "bench/suites/suites.h"

namespace ipcrpc::bench {
namespace {

struct Kind {
  const char* name;
  Pattern pattern;
};
constexpr Kind kKinds[] = {
    {"server streaming ", Pattern::kServerStream}, {"client streaming ", Pattern::kClientStream}, {"bidirectional echo ", Pattern::kBidiStream}};
struct Size {
  const char* name;
  uint32_t bytes;
};
constexpr Size kSizes[] = {{"64 B", 64}, {"1 MiB", 1 << 20}};

}  // namespace

void AddStreams(const Setup& setup, Report& report) {
  for (const Kind& kind : kKinds) {
    for (const Size& size : kSizes) {
      Table table = {std::string(kind.name) + size.name, Placement::kTwoCores, &ThroughputShape("messages"), {}};
      for (const System& system : setup.systems) {
        if (system.name != kShm && system.name != kUnix && system.name != kGrpc) continue;
        table.rows.push_back(RowOf(system, {.pattern = kind.pattern, .bytes = size.bytes}, kGrpc));
      }
      AddTable(setup, report, std::move(table));
    }
  }
  const auto two = Placement::kTwoCores;
  report.goals.push_back({"server streaming 64 B: messages/s of shm:", {"server streaming 64 B", two, kShm}, std::nullopt,
                          &Measured::calls_per_s, 4e6, true});
  report.goals.push_back({"server streaming 1 MiB: bytes/s of shm: by those of gRPC C++", {"server streaming 1 MiB", two, kShm},
                          RowName{"server streaming 1 MiB", two, kGrpc}, &Measured::mb_per_s, 5, true});
}

}  // namespace ipcrpc::bench
