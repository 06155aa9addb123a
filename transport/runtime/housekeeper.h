// One thread that waits for the rare things: connections to accept, peers that die, pollers that are stuck.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "transport/base/fd.h"

namespace ipcrpc {

class Housekeeper {
 public:
  // `on_tick` runs about every `tick_ns` while RequestTick() is asked for again.
  Housekeeper(std::function<void()> on_tick, int64_t tick_ns);
  ~Housekeeper();  // REQUIRES: the thread is stopped
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  // Runs `react(epoll events)` whenever `fd` has one of `events` (epoll's). Any thread. The fd stays the caller's and
  // must stay open until Unwatch(). Starts nothing: see Runtime.
  uint64_t Watch(int fd, uint32_t events, std::function<void(uint32_t)> react);
  void Rewatch(uint64_t id, uint32_t events);
  // After it returns the reaction does not run any more and is gone, unless it is the caller itself. REQUIRES: no lock held
  // that the reaction takes.
  void Unwatch(uint64_t id);

  // Makes a tick come in tick_ns, unless one is due already. Cheap, any thread.
  void RequestTick();

  // The loop of the thread: until Stop().
  void Run();
  void Stop();
  // For those without a thread.
  void RunOnce(int timeout_ms);
  int fd() const { return epoll_.get(); }

 private:
  struct Reaction {
    int fd;
    std::function<void(uint32_t)> react;
    std::recursive_mutex mu;  // held while it runs
    bool running = false;
    bool dead = false;
  };

  const std::function<void()> on_tick_;
  const int64_t tick_ns_;
  const UniqueFd epoll_;
  const UniqueFd timer_;
  const UniqueFd event_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> tick_due_{false};
  std::mutex mu_;
  uint64_t next_id_ = 3;  // 1 and 2: timer and event
  std::unordered_map<uint64_t, std::shared_ptr<Reaction>> reactions_;
};

}  // namespace ipcrpc
