// The methods of a server by name.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ipcrpc/internal/call.h"
#include "rpc/authorization/access_table.h"
#include "rpc/run_times.h"

namespace ipcrpc::rpc {

struct Method {
  std::string name;
  internal::RpcMethod::RpcType type;
  internal::MethodHandler* handler;  // not owned
  RunTimes times;
  bool guarded = false;  // there is, or may be, a rule of who may call it
  const AccessTable::Rule* rule = nullptr;
};

// Filled before the server starts, constant after.
class MethodTable {
 public:
  // False: there is a method of that name.
  bool Add(const internal::RpcServiceMethod& method);
  Method* Find(std::string_view name) const;

  // The one that takes every method which is not in the table: a bidi stream to those who serve it, whatever it is to clients.
  void SetRest(std::unique_ptr<internal::MethodHandler> handler);
  Method* rest() const { return rest_.get(); }  // null: there is none

  // Once all are there.
  void Guard(AccessTable access);
  // Of a guarded method, called by that name; null: it is open.
  const AccessTable::Rule* RuleOf(const Method& method, std::string_view name) const {
    return &method == rest() ? access_.FindOther(name) : method.rule;
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
  };
  std::unordered_map<std::string, std::unique_ptr<Method>, Hash, std::equal_to<>> methods_;
  std::unique_ptr<internal::MethodHandler> rest_handler_;
  std::unique_ptr<Method> rest_;
  AccessTable access_;
};

}  // namespace ipcrpc::rpc
