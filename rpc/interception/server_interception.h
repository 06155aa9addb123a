// The interceptors of a server's call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/server_context.h"
#include "ipcrpc/support/server_interceptor.h"
#include "rpc/interception/batch.h"

namespace ipcrpc::internal {

using ServerInterceptorFactories = std::vector<std::unique_ptr<experimental::ServerInterceptorFactoryInterface>>;

// Destroyed before the context.
class ServerInterception final : public Interceptors {
 public:
  // Null: nobody wants the call. `method` must live as long.
  static std::unique_ptr<ServerInterception> Begin(const ServerInterceptorFactories& factories, ServerContextBase& context,
                                                   const std::string& method, RpcMethod::RpcType type);
  ~ServerInterception() override;

  SentMetadata* sent_initial() override { return &context_.initial_metadata_; }
  SentMetadata* sent_trailing() override { return &context_.trailing_metadata_; }
  ReceivedMetadata* received_initial() override;

 private:
  ServerInterception(ServerContextBase& context, const std::string& method, RpcMethod::RpcType type)
      : context_(context), info_(&context, method.c_str(), type) {}

  ServerContextBase& context_;
  experimental::ServerRpcInfo info_;
};

}  // namespace ipcrpc::internal
