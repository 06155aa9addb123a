// Things to do at a time, for few owners: a connection keeps one timer for the earliest of its deadlines.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "transport/base/fd.h"

namespace ipcrpc {

// Thread-safe. Costs a descriptor once somebody has a timer.
class Timers {
 public:
  // `watch(fd, react)` has `react` run whenever `fd` is readable, for good.
  explicit Timers(std::function<void(int, std::function<void()>)> watch) : watch_(std::move(watch)) {}

  // A timer that is not set. `on_time` runs where the runtime does its housekeeping: it must not block, and may use
  // the timers. It may still run once, on another thread, when Remove() has returned.
  uint64_t Add(std::function<void()> on_time);
  // `on_time` runs once at `when_ns` (CLOCK_MONOTONIC), instead of at the time set before.
  void Set(uint64_t id, int64_t when_ns);
  void Remove(uint64_t id);

 private:
  struct Timer {
    std::shared_ptr<const std::function<void()>> on_time;
    int64_t when_ns;
  };

  void Arm();
  void RunDue();

  const std::function<void(int, std::function<void()>)> watch_;
  std::mutex mu_;  // of all that follows
  UniqueFd fd_;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, Timer> timers_;
  std::set<std::pair<int64_t, uint64_t>> due_;  // those that are set
};

}  // namespace ipcrpc
