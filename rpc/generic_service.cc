// Generic services: the handler of every method that no other one has.
#include "ipcrpc/generic/callback_generic_service.h"

#include <string>
#include <utility>

#include "ipcrpc/internal/callback_handler.h"
#include "rpc/frame.h"

namespace ipcrpc {

class CallbackGenericService::Handler final : public internal::MethodHandler {
 public:
  Handler(CallbackGenericService* service, std::string method) : service_(service), method_(std::move(method)) {}

  bool is_callback() const override { return true; }
  void RunCallback(internal::ServerCallbackCall& call) override {
    GenericCallbackServerContext* const context = call.generic_context();
    const std::string& block = context->client_block_;
    context->method_ = method_.empty() ? rpc::FindEntry(block, rpc::EntryKind::kMethodName) : method_;
    context->host_ = rpc::FindEntry(block, rpc::EntryKind::kAuthority);
    internal::BindReactorOf(call, nullptr, [&] { return service_->CreateReactor(context); });
  }

 private:
  CallbackGenericService* const service_;
  const std::string method_;
};

ServerGenericBidiReactor* CallbackGenericService::CreateReactor(GenericCallbackServerContext*) { return nullptr; }

std::unique_ptr<internal::MethodHandler> CallbackGenericService::NewHandler(std::string method) {
  return std::make_unique<Handler>(this, std::move(method));
}

}  // namespace ipcrpc
