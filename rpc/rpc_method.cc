// The names of methods, as this process knows them.
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "ipcrpc/internal/call.h"
#include "rpc/frame.h"
#include "rpc/run_times.h"

namespace ipcrpc::internal {
namespace {

// Well below the number of indexes of a connection, most of which are for the names in the program's text.
constexpr size_t kMaxRunTimeNames = 1024;

}  // namespace

struct RpcMethod::Known {
  std::string name;
  uint32_t id = kNoId;
  mutable rpc::RunTimes times;  // thread-safe
};

// Never destroyed: calls may end late.
class RpcMethod::KnownNames {
 public:
  static KnownNames& Instance() {
    static auto* const names = new KnownNames;
    return *names;
  }

  const Known& OfProgram(std::string_view name) {
    std::lock_guard lock(mu_);
    const Known* known = Find(name);
    return known != nullptr ? *known : Add(name);
  }

  // Null: it is to be remembered by its user.
  const Known* OfRunTime(std::string_view name) {
    if (name.size() > rpc::kMaxIndexedName) return nullptr;
    // Most threads that call by name call the same again, which takes no lock: what is known stays.
    thread_local const Known* last = nullptr;
    if (last != nullptr && last->name == name) return last;
    std::lock_guard lock(mu_);
    const Known* known = Find(name);
    if (known == nullptr && run_time_names_ < kMaxRunTimeNames) {
      ++run_time_names_;
      known = &Add(name);
    }
    if (known != nullptr) last = known;
    return known;
  }

  const Known& others() const { return others_; }

 private:
  const Known* Find(std::string_view name) const {
    const auto it = names_.find(name);
    return it == names_.end() ? nullptr : it->second.get();
  }

  const Known& Add(std::string_view name) {
    auto known = std::make_unique<Known>();
    known->name = name;
    if (name.size() <= rpc::kMaxIndexedName) known->id = next_id_++;
    const std::string_view key = known->name;
    return *names_.emplace(key, std::move(known)).first->second;
  }

  std::mutex mu_;
  std::unordered_map<std::string_view, std::unique_ptr<Known>> names_;
  uint32_t next_id_ = 0;
  size_t run_time_names_ = 0;
  const Known others_{};
};

RpcMethod::RpcMethod(const Known& known, RpcType type)
    : name_(known.name.c_str()), type_(type), id_(known.id), times_(&known.times) {}

RpcMethod::RpcMethod(const char* name, RpcType type) : RpcMethod(KnownNames::Instance().OfProgram(name), type) {}

RpcMethod RpcMethod::AtRunTime(const std::string& name, RpcType type) {
  KnownNames& names = KnownNames::Instance();
  const char* const text = name.c_str();  // up to a zero byte, as calls send it
  if (const Known* known = names.OfRunTime(text); known != nullptr) return RpcMethod(*known, type);
  RpcMethod method(names.others(), type);
  method.own_name_ = std::make_shared<const std::string>(text);
  method.name_ = method.own_name_->c_str();
  return method;
}

}  // namespace ipcrpc::internal
