#include "services/monitor/process_statistics.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

namespace ipcrpc::monitor {
namespace {

uint64_t Milliseconds(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1000 + static_cast<uint64_t>(time.tv_usec) / 1000;
}

uint64_t ResidentBytes() {
  unsigned long size = 0, resident = 0;
  FILE* const file = fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  const int read = fscanf(file, "%lu %lu", &size, &resident);
  fclose(file);
  return read == 2 ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

v1::ProcessStatistics OwnStatistics() {
  v1::ProcessStatistics statistics;
  statistics.set_pid(static_cast<uint32_t>(getpid()));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  statistics.set_user_ms(Milliseconds(usage.ru_utime));
  statistics.set_system_ms(Milliseconds(usage.ru_stime));
  statistics.set_resident_bytes(ResidentBytes());
  statistics.set_resident_max_bytes(static_cast<uint64_t>(usage.ru_maxrss) * 1024);
  return statistics;
}

}  // namespace ipcrpc::monitor
