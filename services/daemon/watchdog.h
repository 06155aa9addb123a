// Tells the service manager that the server lives for as long as it does: a server that does not get to answer a call to its own
// health service is one that answers nobody, whatever its threads are doing.
#pragma once

#include <chrono>
#include <memory>
#include <thread>

#include "ipcrpc/channel.h"
#include "services/daemon/log.h"

namespace ipcrpc::hosting {

// Does nothing where the manager does not ask for it ($WATCHDOG_USEC, $WATCHDOG_PID).
class Watchdog {
 public:
  // A call over `channel` at once and then twice in the manager's time, one at a time. What is late is said to `log`, which
  // must outlive this.
  Watchdog(std::shared_ptr<Channel> channel, const Logger& log);
  // Waits for no call.
  ~Watchdog();

 private:
  struct State;
  struct Probe;
  void Run(std::chrono::microseconds period);

  const std::shared_ptr<Channel> channel_;
  const Logger& log_;
  const std::shared_ptr<State> state_;  // also of a probe that is left behind
  std::thread thread_;                  // last: uses the others
};

}  // namespace ipcrpc::hosting
