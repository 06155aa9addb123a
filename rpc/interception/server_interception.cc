#include "rpc/interception/server_interception.h"

namespace ipcrpc::internal {

std::unique_ptr<ServerInterception> ServerInterception::Begin(const ServerInterceptorFactories& factories, ServerContextBase& context,
                                                              std::string method, RpcMethod::RpcType type) {
  std::unique_ptr<ServerInterception> made(new ServerInterception(context, std::move(method), type));
  for (const auto& factory : factories) {
    experimental::Interceptor* const interceptor = factory->CreateServerInterceptor(&made->info_);
    if (interceptor != nullptr) made->Add(interceptor);
  }
  if (made->size() == 0) return nullptr;
  context.interception_ = made.get();
  return made;
}

ServerInterception::~ServerInterception() {
  if (context_.interception_ == this) context_.interception_ = nullptr;
  DestroyAll();
}

ReceivedMetadata* ServerInterception::received_initial() {
  context_.client_metadata();
  return &context_.client_metadata_;
}

}  // namespace ipcrpc::internal
