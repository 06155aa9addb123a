#include "rpc/memory/abandoned.h"

#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include "transport/base/process.h"

namespace ipcrpc::rpc {
namespace {

struct Abandoned {
  std::mutex mu;
  std::map<std::pair<pid_t, uint64_t>, std::vector<Slice>> by_process;
};

// Never destroyed: connections may end late.
Abandoned& TheAbandoned() {
  static auto* const abandoned = new Abandoned;
  return *abandoned;
}

}  // namespace

void AbandonTo(std::vector<Slice> slices, pid_t pid, uint64_t start_time) {
  if (!slices.empty()) {
    Abandoned& abandoned = TheAbandoned();
    std::lock_guard lock(abandoned.mu);
    std::vector<Slice>& held = abandoned.by_process[{pid, start_time}];
    held.insert(held.end(), std::make_move_iterator(slices.begin()), std::make_move_iterator(slices.end()));
  }
  FreeAbandonedLoans();
}

void FreeAbandonedLoans() {
  Abandoned& abandoned = TheAbandoned();
  std::vector<std::vector<Slice>> ended;  // goes after the lock has: that may run users' code
  std::lock_guard lock(abandoned.mu);
  for (auto process = abandoned.by_process.begin(); process != abandoned.by_process.end();) {
    if (ProcessAlive(process->first.first, process->first.second)) {
      ++process;
    } else {
      ended.push_back(std::move(process->second));
      process = abandoned.by_process.erase(process);
    }
  }
}

}  // namespace ipcrpc::rpc
