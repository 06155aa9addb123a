// Everything that runs by itself: some pollers, one housekeeping thread, workers. Lazy: a thread starts when there
// is something for it. One default for each process; a program may make its own, also one with no threads, to be
// driven from a loop of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "transport/link.h"
#include "transport/runtime/housekeeper.h"
#include "transport/runtime/poller.h"
#include "transport/runtime/timers.h"
#include "transport/runtime/worker_pool.h"

namespace ipcrpc {

struct IoRuntimeOptions {
  int pollers = 0;       // 0: 1 on up to 2 processors, else up to 4
  bool threads = true;   // false: fd() and RunOnce()
  size_t max_workers = WorkerPool::kDefaultCap;
  std::vector<int> poller_cpus{};  // where pollers may run; empty: where the process may
};

class IoRuntime {
 public:
  explicit IoRuntime(IoRuntimeOptions options = {});
  ~IoRuntime();  // stops; REQUIRES: links and listeners are gone

  // The process's own, made at the first call, stopped at exit. In a forked child it is another one.
  static const std::shared_ptr<IoRuntime>& Default();

  // Gives a link to the poller with the fewest.
  void Attach(std::shared_ptr<PollTarget> target);

  // Accepts on `listener`, on the housekeeping thread, until Unlisten(). `on_link` must not block. `on_exhausted` runs
  // once when the listener has no more links to give.
  uint64_t Listen(std::shared_ptr<Listener> listener, std::function<void(std::unique_ptr<Link>)> on_link,
                  std::function<void()> on_exhausted = {});
  // After it returns neither runs any more.
  void Unlisten(uint64_t id);

  // Runs `react` on the housekeeping thread whenever `fd` is readable, until Unwatch(), up to which it stays open.
  uint64_t Watch(int fd, std::function<void()> react);
  // After it returns `react` does not run any more, unless it is the caller itself.
  void Unwatch(uint64_t id);

  // Runs `on_hangup` once when the peer of `link` hangs up, on the housekeeping thread. The link outlives it until
  // ForgetHangup().
  uint64_t WatchHangup(Link& link, std::function<void()> on_hangup);
  void ForgetHangup(uint64_t id);

  // For tasks that belong to no link.
  Poller& AnyPoller();

  // On the housekeeping thread, so what runs there must not block.
  Timers& timers() { return timers_; }

  // Runs `work` on a thread of its own; false at the cap.
  [[nodiscard]] bool Submit(std::function<void()> work) { return workers_.Submit(std::move(work)); }

  bool threaded() const { return options_.threads; }
  // Without threads.
  int fd() const { return fd_.get(); }
  void RunOnce();

  size_t threads() const;
  // All threads; idempotent. Those that are in a handler are waited for, but for `patience` at most.
  void Stop(std::chrono::seconds patience = WorkerPool::kForever);
  bool stopped() const { return stopping_.load(std::memory_order_acquire); }

 private:
  struct Lane {
    IoRuntime* runtime;
    std::unique_ptr<Poller> poller;
    uint64_t watch_id = 0;
    uint64_t seen_task = 0;  // by the tick
    bool started = false;
  };
  struct Driver;

  void StartHousekeeper();
  void StartLane(Lane* lane);
  // Starts a thread; false: the system refuses.
  bool Drive(Lane* lane, uint64_t stuck_in);
  static void* LaneMain(void* driver);
  static void* HousekeeperMain(void* runtime);
  void ThreadGone();
  void Tick();

  const IoRuntimeOptions options_;
  Housekeeper housekeeper_;
  Timers timers_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  WorkerPool workers_;
  UniqueFd fd_;

  mutable std::mutex mu_;
  std::condition_variable gone_;
  size_t threads_ = 0;
  bool housekeeper_started_ = false;
  std::atomic<bool> stopping_{false};
};

}  // namespace ipcrpc
