// Snapshots of 1 KiB: what reading costs, unchanged and changed, beside a bare copy and parse of what another process wrote just as
// often; and what publishing costs, alone and while others read as fast as they can.
#include "bench/suites/suites.h"

namespace ipcrpc::bench {
namespace {

constexpr char kUnchanged[] = "snapshot of 1 KiB, 1,000 reads unchanged";
constexpr char kChanged[] = "snapshot of 1 KiB, a read that finds it changed";
constexpr char kPublish[] = "snapshot of 1 KiB, published 10,000 times a second";
constexpr char kRead[] = "SnapshotReader";
constexpr char kBareRead[] = "bare memcpy + parse";
constexpr char kAlone[] = "no readers";
constexpr char kRead1[] = "1 reader flat out";
constexpr char kRead8[] = "8 readers flat out";

Row RowOf(const char* name, Row::Kind kind, const char* variant, const char* base) {
  // With 1,010 bytes of payload a message has 1 KiB.
  return {.name = name, .kind = kind, .order = {.bytes = 1010},
          .make = [=] { return RunProgram(FindProgram("snapshot_program", variant), At("bench")); }, .base = base};
}

}  // namespace

void AddSnapshots(const Setup& setup, Report& report) {
  const auto two = Placement::kTwoCores;
  AddTable(setup, report, {kUnchanged, two, &LatencyShape(), {RowOf(kRead, Row::Kind::kOurs, "unchanged", "")}});
  AddTable(setup, report, {kChanged, two, &LatencyShape(),
                           {RowOf(kBareRead, Row::Kind::kFloor, "bare", kBareRead), RowOf(kRead, Row::Kind::kOurs, "changed", kBareRead)}});
  for (const Placement placement : {two, Placement::kFree}) {
    AddTable(setup, report, {kPublish, placement, &LatencyShape(),
                             {RowOf(kAlone, Row::Kind::kOurs, "publish0", kAlone), RowOf(kRead1, Row::Kind::kOurs, "publish1", kAlone),
                              RowOf(kRead8, Row::Kind::kOurs, "publish8", kAlone)}});
  }
  report.goals.push_back({"snapshot of 1 KiB, unchanged: µs for 1,000 reads", {kUnchanged, two, kRead}, std::nullopt,
                          &Measured::p50_us, 5, false});
  report.goals.push_back({"snapshot of 1 KiB, changed: p50 by that of a bare memcpy + parse", {kChanged, two, kRead},
                          RowName{kChanged, two, kBareRead}, &Measured::p50_us, 2, false});
  report.goals.push_back({"publishing 1 KiB, 8 readers flat out: p50 by that without", {kPublish, two, kRead8},
                          RowName{kPublish, two, kAlone}, &Measured::p50_us, 6, false});
}

}  // namespace ipcrpc::bench
