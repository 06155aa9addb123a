// Interceptors of a client: see interceptor.h, and CreateCustomChannelWithInterceptors() in ipcrpc/create_channel.h.
#pragma once

#include "ipcrpc/export.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/support/interceptor.h"

namespace ipcrpc {

class ChannelInterface;
class ClientContext;
namespace internal {
class ClientInterception;
}

namespace experimental {

// What call it is. Valid as long as the call's context.
class ClientRpcInfo {
 public:
  enum class Type { UNARY, CLIENT_STREAMING, SERVER_STREAMING, BIDI_STREAMING, UNKNOWN };

  ClientRpcInfo(const ClientRpcInfo&) = delete;
  ClientRpcInfo& operator=(const ClientRpcInfo&) = delete;

  const char* method() const { return method_; }                // "/package.Service/Method"
  const char* suffix_for_stats() const { return nullptr; }      // nothing is collected by suffix here
  ChannelInterface* channel() { return channel_; }              // until the call is over
  ipcrpc::ClientContext* client_context() { return context_; }
  Type type() const { return type_; }

 private:
  friend class internal::ClientInterception;
  ClientRpcInfo(ClientContext* context, const internal::RpcMethod& method, ChannelInterface* channel)
      : context_(context), type_(static_cast<Type>(method.method_type())), method_(method.name()), channel_(channel) {}

  ClientContext* const context_;
  const Type type_;
  const char* const method_;
  ChannelInterface* const channel_;
};

// By several threads at once, as calls begin.
class ClientInterceptorFactoryInterface {
 public:
  virtual ~ClientInterceptorFactoryInterface() = default;
  // The call's interceptor, which is destroyed with the call's context; null for a call that it has nothing to do with.
  virtual Interceptor* CreateClientInterceptor(ClientRpcInfo* info) = 0;
};

// One whose interceptors are the last of every call. Once, before the first channel is made; must outlive all calls.
// A second one stops the process.
IPCRPC_EXPORT void RegisterGlobalClientInterceptorFactory(ClientInterceptorFactoryInterface* factory);
// For tests, while no call begins.
IPCRPC_EXPORT void TestOnlyResetGlobalClientInterceptorFactory();

}  // namespace experimental
}  // namespace ipcrpc
