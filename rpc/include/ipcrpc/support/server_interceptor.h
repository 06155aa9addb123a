// Interceptors of a server: see interceptor.h, and ServerBuilder::experimental() in ipcrpc/server_builder.h.
#pragma once

#include "ipcrpc/internal/call.h"
#include "ipcrpc/support/interceptor.h"

namespace ipcrpc {

class ServerContextBase;
namespace internal {
class ServerInterception;
}

namespace experimental {

// What call it is. Valid as long as the interceptor.
class ServerRpcInfo {
 public:
  enum class Type { UNARY, CLIENT_STREAMING, SERVER_STREAMING, BIDI_STREAMING };

  ServerRpcInfo(const ServerRpcInfo&) = delete;
  ServerRpcInfo& operator=(const ServerRpcInfo&) = delete;

  const char* method() const { return method_; }  // "/package.Service/Method"
  Type type() const { return type_; }
  ServerContextBase* server_context() { return context_; }

 private:
  friend class internal::ServerInterception;
  ServerRpcInfo(ServerContextBase* context, const char* method, internal::RpcMethod::RpcType type)
      : context_(context), method_(method), type_(static_cast<Type>(type)) {}

  ServerContextBase* const context_;
  const char* const method_;
  const Type type_;
};

// By several threads at once, as calls begin.
class ServerInterceptorFactoryInterface {
 public:
  virtual ~ServerInterceptorFactoryInterface() = default;
  // The call's interceptor, which is destroyed with the call; null for a call that it has nothing to do with.
  virtual Interceptor* CreateServerInterceptor(ServerRpcInfo* info) = 0;
};

}  // namespace experimental
}  // namespace ipcrpc
