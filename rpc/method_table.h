// The methods of a server by name.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ipcrpc/internal/call.h"
#include "rpc/run_times.h"

namespace ipcrpc::rpc {

struct Method {
  std::string name;
  internal::RpcMethod::RpcType type;
  internal::MethodHandler* handler;  // not owned
  RunTimes times;
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
