#include "rpc/method_table.h"

namespace ipcrpc::rpc {

bool MethodTable::Add(const internal::RpcServiceMethod& method) {
  auto entry = std::make_unique<Method>();
  entry->name = method.name();
  entry->type = method.method_type();
  entry->handler = method.handler();
  return methods_.emplace(method.name(), std::move(entry)).second;
}

Method* MethodTable::Find(std::string_view name) const {
  const auto it = methods_.find(name);
  return it == methods_.end() ? nullptr : it->second.get();
}

void MethodTable::SetRest(std::unique_ptr<internal::MethodHandler> handler) {
  rest_handler_ = std::move(handler);
  rest_ = std::make_unique<Method>();
  rest_->type = internal::RpcMethod::BIDI_STREAMING;
  rest_->handler = rest_handler_.get();
}

void MethodTable::Guard(AccessTable access) {
  access_ = std::move(access);
  if (rest_ != nullptr) rest_->guarded = !access_.empty();
  for (const auto& [name, method] : methods_) {
    method->rule = access_.Find(name);
    method->guarded = method->rule != nullptr;
  }
}

}  // namespace ipcrpc::rpc
