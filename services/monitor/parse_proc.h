#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ipcrpc/monitor/v1/system_status.pb.h"

// From the text of files under /proc to messages. Pure. A line or number that is not as the kernel writes
// it is skipped, so that what a kernel lacks, or writes in a new way, is absent and never wrong.
// Those that return bool say whether the essential part was there.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// /proc/loadavg.
bool ParseLoad(std::string_view text, v1::Load* out);

// /proc/uptime: its first number.
bool ParseUptime(std::string_view text, double* seconds);

// /proc/stat. Times there are in ticks, of which a second has `ticks_per_second`. `boot_time` is set to
// its btime (seconds since 1970) when there is one.
bool ParseStat(std::string_view text, long ticks_per_second, v1::Cpu* out, int64_t* boot_time);

// /proc/meminfo. Swap's totals only if `out` has a swap.
bool ParseMemory(std::string_view text, v1::Memory* out);

// /proc/swaps.
void ParseSwaps(std::string_view text, v1::SwapSpace* out);

// A file of /proc/pressure.
bool ParsePressure(std::string_view text, v1::PressureResource* out);

// /proc/diskstats.
void ParseDisks(std::string_view text, google::protobuf::RepeatedPtrField<v1::Disk>* out);

// /proc/self/mountinfo. `paths` gets the mount points as they are, in the same order: what stands in the
// messages has been made valid UTF-8, and may not lead to them.
void ParseMounts(std::string_view text, google::protobuf::RepeatedPtrField<v1::Mount>* out,
                 std::vector<std::string>* paths);

// /proc/net/dev.
void ParseNetCounters(std::string_view text, google::protobuf::RepeatedPtrField<v1::NetCounters>* out);

}  // namespace ipcrpc::monitor
