// The interceptors of a server's call.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ipcrpc/server_context.h"
#include "ipcrpc/support/server_interceptor.h"
#include "rpc/interception/batch.h"

namespace ipcrpc::internal {

using ServerInterceptorFactories = std::vector<std::unique_ptr<experimental::ServerInterceptorFactoryInterface>>;

// Destroyed before the context.
class ServerInterception final : public Interceptors {
 public:
  // Null: nobody wants the call.
  static std::unique_ptr<ServerInterception> Begin(const ServerInterceptorFactories& factories, ServerContextBase& context,
                                                   std::string method, RpcMethod::RpcType type);
  ~ServerInterception() override;

  SentMetadata* sent_initial() override { return &context_.initial_metadata_; }
  SentMetadata* sent_trailing() override { return &context_.trailing_metadata_; }
  ReceivedMetadata* received_initial() override;

 private:
  ServerInterception(ServerContextBase& context, std::string method, RpcMethod::RpcType type)
      : context_(context), method_(std::move(method)), info_(&context, method_.c_str(), type) {}

  ServerContextBase& context_;
  const std::string method_;  // interceptors ask for it to the last
  experimental::ServerRpcInfo info_;
};

}  // namespace ipcrpc::internal
