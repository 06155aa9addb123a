// A thing to measure: a server and a client that calls it, in two processes.
#pragma once

#include <functional>
#include <memory>

#include "bench/process.h"
#include "bench/sample.h"

namespace ipcrpc::bench {

class Workload {
 public:
  virtual ~Workload() = default;

  // In the server's process: Tell()s once it can be called, then serves until SIGTERM, which may just kill it.
  virtual void Serve(const ReadySignal& ready, const SharedMemory& sample) = 0;
  // In the client's process: Measure()s its calls into `sample`, as ordered there.
  virtual void Drive(const SharedMemory& sample) = 0;
};

// Made anew, by the parent, for each run, just before the two processes start.
using WorkloadFactory = std::function<std::unique_ptr<Workload>()>;

}  // namespace ipcrpc::bench
