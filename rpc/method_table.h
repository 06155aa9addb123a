// The methods of a server by name, and what is learnt of each while it runs.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ipcrpc/internal/call.h"

namespace ipcrpc::rpc {

struct Method {
  std::string name;
  internal::RpcMethod::RpcType type;
  internal::MethodHandler* handler;  // not owned

  // A unary handler runs on the poller, without a hand-over, until it has been seen to take long; from then on
  // on a worker, until it has been short for a long while.
  bool Blocks() const { return blocks_.load(std::memory_order_relaxed); }
  // How long the handler took, wherever it ran, without the sending of its answer.
  void NoteRun(uint64_t ticks);

 private:
  void NoteWorkerRun(bool is_short);

  std::atomic<bool> blocks_{false};
  std::atomic<uint64_t> mean_ticks_{0};  // exponentially weighted
  std::atomic<uint32_t> long_runs_{0};   // goes up with each long run, down with each short one
  std::atomic<uint32_t> short_runs_{0};  // in a row, on workers
};

// Filled before the server starts, constant after.
class MethodTable {
 public:
  // False: there is a method of that name.
  bool Add(const internal::RpcServiceMethod& method);
  Method* Find(std::string_view name) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  std::unordered_map<std::string, std::unique_ptr<Method>, Hash, std::equal_to<>> methods_;
};

}  // namespace ipcrpc::rpc
