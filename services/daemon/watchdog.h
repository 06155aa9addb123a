// Tells the service manager that the server lives for as long as it does: a server that does not get to
// answer a call to its own health service is one that answers nobody, whatever its threads are doing.
#pragma once

#include <chrono>
#include <memory>
#include <thread>

#include "ipcrpc/server.h"
#include "services/daemon/log.h"

namespace ipcrpc::hosting {

// Does nothing where the manager does not ask for it ($WATCHDOG_USEC, $WATCHDOG_PID).
class Watchdog {
 public:
  // A call at once and then twice in the manager's time, one at a time and each as a client that has just
  // come. What is late is said to `log`. Both must outlive this.
  Watchdog(Server* server, const Logger& log);
  // Waits for no call.
  ~Watchdog();

 private:
  struct State;
  struct Probe;
  void Run(std::chrono::microseconds period);

  Server* const server_;
  const Logger& log_;
  const std::shared_ptr<State> state_;  // also of a probe that is left behind
  std::thread thread_;                  // last: uses the others
};

}  // namespace ipcrpc::hosting
