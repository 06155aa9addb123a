#include "rpc/memory/mapping_budget.h"

#include <mutex>
#include <unordered_map>

#include "ipcrpc/internal/mutex.h"

namespace ipcrpc::rpc {
namespace {

class Budget {
 public:
  // Never destroyed: regions may go late.
  static Budget& Instance() {
    static auto* const budget = new Budget;
    return *budget;
  }

  bool Take(uid_t uid) {
    std::lock_guard lock(mu_);
    if (all_ >= kMaxMappings) return false;
    uint32_t& of_user = of_users_[uid];
    if (of_user >= kMaxMappingsOfUser) return false;
    ++of_user;
    ++all_;
    return true;
  }
  void Return(uid_t uid) {
    std::lock_guard lock(mu_);
    --all_;
    if (const auto it = of_users_.find(uid); --it->second == 0) of_users_.erase(it);
  }

 private:
  internal::Mutex mu_;
  uint32_t all_ = 0;
  std::unordered_map<uid_t, uint32_t> of_users_;  // none of 0
};

}  // namespace

std::shared_ptr<void> TakeMapping(uid_t uid) {
  Budget& budget = Budget::Instance();
  if (!budget.Take(uid)) return nullptr;
  return std::shared_ptr<void>(&budget, [uid](void* of) { static_cast<Budget*>(of)->Return(uid); });
}

}  // namespace ipcrpc::rpc
