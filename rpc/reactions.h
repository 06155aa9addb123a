// The reactions of one callback call: what runs when an operation is complete.
//
// They run one after the other, never inside of the call that made them due: on the connection's poller, or on a worker
// where the method's reactions have been seen to block. One that blocks for the first time holds up its own call
// alone: the poller is given to another thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "rpc/run_times.h"
#include "transport/base/ticks.h"
#include "transport/runtime/io_runtime.h"

namespace ipcrpc::rpc {

class Reactions : public PollerTask {
 public:
  void Run() final {
    const uint32_t due = due_.exchange(kRunning, std::memory_order_acq_rel) & ~kRunning;
    const uint64_t began = Ticks();
    const bool last = React(due);
    times_.NoteReaction(Ticks() - began);
    if (last) return Destroy();
    // What became due meanwhile runs in a turn of its own, after others'.
    uint32_t running = kRunning;
    if (!due_.compare_exchange_strong(running, 0, std::memory_order_acq_rel)) Schedule();
  }

 protected:
  // Both outlive the object; the poller may be set later.
  Reactions(IoRuntime& runtime, RunTimes& times) : runtime_(runtime), times_(times) {}
  ~Reactions() = default;

  // Runs these reactions. True: they were the last, nothing fires any more.
  virtual bool React(uint32_t due) = 0;
  virtual void Destroy() = 0;

  // From now on these are due, once each. Any thread, also with a stream's lock held.
  void Fire(uint32_t which) {
    if (due_.fetch_or(which, std::memory_order_acq_rel) == 0) Schedule();
  }
  void set_poller(Poller* poller) { poller_.store(poller, std::memory_order_release); }

  static constexpr uint32_t kRunning = uint32_t{1} << 31;

 private:
  void Schedule() {
    if (times_.Blocks() && runtime_.threaded() && runtime_.Submit([this] { Run(); })) return;
    Poller* poller = poller_.load(std::memory_order_acquire);
    (poller != nullptr ? *poller : runtime_.AnyPoller()).Post(this);
  }

  IoRuntime& runtime_;
  RunTimes& times_;
  std::atomic<Poller*> poller_{nullptr};
  std::atomic<uint32_t> due_{0};
};

}  // namespace ipcrpc::rpc
