// The threads that serve links, as an object: for programs that want their own, or none.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "ipcrpc/export.h"

namespace ipcrpc {

class IoRuntime;

// Servers and channels share the process's default runtime: a poller or a few, one housekeeping thread, and workers
// for handlers that block; each starts when there is something for it. Thread-safe, but for RunOnce().
class IPCRPC_EXPORT Runtime {
 public:
  // The process's own. A forked child has another one.
  static std::shared_ptr<Runtime> Default();

  // One with `pollers` pollers (0: by the number of processors) and up to `max_workers` workers. `poller_cpus`: the processors,
  // counted from 0, on which the pollers may run, and with them unary handlers that do not block and the reactions of the callback
  // API; none: all that the process may use. Where the kernel refuses them a warning is logged, and they run anywhere.
  static std::shared_ptr<Runtime> WithThreads(int pollers = 0, size_t max_workers = 4096, std::vector<int> poller_cpus = {});

  // One without a thread, for a program with a loop of its own (poll, epoll, GLib, libuv, asio): whenever fd() is readable,
  // RunOnce(). Unary handlers run inside it; streaming handlers of the synchronous API still get a worker, as
  // they block by nature.
  static std::shared_ptr<Runtime> WithoutThreads();

  // Level-triggered; only for polling. -1 for a runtime with threads.
  int fd() const;
  // Does what there is to do without waiting. By one thread at a time.
  void RunOnce();

  // Those of this runtime that exist now.
  size_t threads() const;

  // For the library.
  explicit Runtime(std::shared_ptr<IoRuntime> io, bool threaded);
  ~Runtime();
  const std::shared_ptr<IoRuntime>& io() const { return io_; }

 private:
  const std::shared_ptr<IoRuntime> io_;
  const bool threaded_;
};

}  // namespace ipcrpc
