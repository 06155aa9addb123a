#include "bench/sample.h"

#include <time.h>

namespace ipcrpc::bench {

double CpuSeconds(pid_t pid) {
  clockid_t clock;
  timespec used = {};
  if (clock_getcpuclockid(pid, &clock) == 0) clock_gettime(clock, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

}  // namespace ipcrpc::bench
