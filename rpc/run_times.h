// What is learnt of a method's code while it runs: whether it blocks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ipcrpc::rpc {

// A handler or a reaction runs on the poller, without a hand-over, until it has been seen to take long; from then on
// on a worker, until it has been short for a long while. Thread-safe.
class RunTimes {
 public:
  bool Blocks() const { return blocks_.load(std::memory_order_relaxed); }
  // How long a handler took for a request of so many bytes, wherever it ran, without the sending of its answer. What such a request
  // takes to be parsed, and its like to be made, is not counted: a hand-over would not help against that.
  void NoteRun(uint64_t ticks, size_t request_bytes);
  // The same for reactions, of which there should be many on few threads: only those count that are longer than what the
  // scheduler takes away, and it is soon forgotten.
  void NoteReaction(uint64_t ticks);

 private:
  void NoteLength(bool is_long);
  void NoteWorkerRun(bool is_short, uint32_t short_runs_to_return);

  std::atomic<bool> blocks_{false};
  std::atomic<uint64_t> mean_ticks_{0};  // exponentially weighted
  std::atomic<uint32_t> long_runs_{0};   // goes up with each long run, down with each short one
  std::atomic<uint32_t> short_runs_{0};  // in a row, on workers
};

}  // namespace ipcrpc::rpc
