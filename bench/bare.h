// The mechanisms that transports stand on, used as one would without a library: blocking system calls, nothing
// between them. What they cost is the floor of the transports.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/workload.h"

namespace ipcrpc::bench {

// One way to carry bytes or, for wake-ups alone, turns, between two processes. Made before they start; each
// process uses its own side.
class Mechanism {
 public:
  enum class Side { kClient, kServer };

  virtual ~Mechanism() = default;
  // In the process of that side, before its first message.
  virtual void Take(Side) {}
  // Blocking; all of it.
  virtual void Send(Side side, const char* data, size_t size) = 0;
  virtual void Receive(Side side, char* data, size_t size) = 0;
};

using MechanismFactory = std::unique_ptr<Mechanism> (*)();

struct BareMechanism {
  std::string name;
  MechanismFactory make;
  bool carries_bytes;  // false: wakes only
};

// Socket pair, pipes, POSIX queues, System V queues, netlink; futex, eventfd, POSIX and System V semaphores.
const std::vector<BareMechanism>& BareMechanisms();
const BareMechanism& FindBare(const std::string& name);

// A message of an echo's size to and fro.
std::unique_ptr<Workload> BareUnary(MechanismFactory make);
// Messages of `bytes` each, echoed; the client sends in one thread and receives in another.
std::unique_ptr<Workload> BareStream(MechanismFactory make, size_t bytes);

}  // namespace ipcrpc::bench
