#pragma once

#include <string_view>

#include "ipcrpc/monitor/v1/system_status.pb.h"

// From the text of files of single processes and cgroups to messages. Pure; as parse_proc.h.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// /proc/PID/stat; all but the uid. A name may contain anything, also blanks and parentheses.
bool ParseProcess(std::string_view text, long ticks_per_second, long page_bytes, v1::Process* out);

// cpu.stat, memory.events and io.stat of a cgroup.
void ParseCgroupCpu(std::string_view text, v1::Cgroup* out);
void ParseCgroupMemoryEvents(std::string_view text, v1::Cgroup* out);
void ParseCgroupIo(std::string_view text, v1::Cgroup* out);

// A file with one number; false for "max" and everything else that is none.
bool ParseNumber(std::string_view text, uint64_t* number);

}  // namespace ipcrpc::monitor
