// Generic services: the handler of every method that no other one has.
#include "ipcrpc/generic/callback_generic_service.h"
#include "ipcrpc/internal/callback_handler.h"
#include "rpc/frame.h"

namespace ipcrpc {

class CallbackGenericService::Handler final : public internal::MethodHandler {
 public:
  explicit Handler(CallbackGenericService* service) : service_(service) {}

  bool is_callback() const override { return true; }
  void RunCallback(internal::ServerCallbackCall& call) override {
    GenericCallbackServerContext* const context = call.generic_context();
    const std::string& block = context->client_block_;
    context->method_ = rpc::FindEntry(block, rpc::EntryKind::kMethodName);
    context->host_ = rpc::FindEntry(block, rpc::EntryKind::kAuthority);
    internal::BindReactorOf(call, nullptr, [&] { return service_->CreateReactor(context); });
  }

 private:
  CallbackGenericService* const service_;
};

ServerGenericBidiReactor* CallbackGenericService::CreateReactor(GenericCallbackServerContext*) { return nullptr; }

std::unique_ptr<internal::MethodHandler> CallbackGenericService::NewHandler() { return std::make_unique<Handler>(this); }

}  // namespace ipcrpc
