#include <utility>

#include "ipcrpc/internal/callback_call.h"

namespace ipcrpc::internal {

template <typename Keep>
ServerCallbackCall* ServerOperations::CallOr(Keep&& keep) {
  ServerCallbackCall* call = call_.load(std::memory_order_acquire);
  if (call != nullptr) return call;
  std::lock_guard lock(mu_);
  call = call_.load(std::memory_order_relaxed);
  if (call == nullptr) keep();
  return call;
}

void ServerOperations::SendInitialMetadata() {
  ServerCallbackCall* call = CallOr([this] { initial_wanted_ = true; });
  if (call != nullptr) call->SendInitialMetadata();
}

void ServerOperations::Read(const IncomingMessage& message) {
  ServerCallbackCall* call = CallOr([&] {
    read_wanted_ = true;
    read_ = message;
  });
  if (call != nullptr) call->Read(message);
}

void ServerOperations::Write(const OutgoingMessage& message, WriteOptions options) {
  ServerCallbackCall* call = CallOr([&] {
    write_wanted_ = true;
    write_ = message;
    write_options_ = options;
  });
  if (call != nullptr) call->Write(message, options);
}

void ServerOperations::WriteAndFinish(const OutgoingMessage& message, WriteOptions options, Status status) {
  ServerCallbackCall* call = CallOr([&] {
    write_and_finish_wanted_ = true;
    write_ = message;
    write_options_ = options;
    status_ = std::move(status);
  });
  if (call != nullptr) call->WriteAndFinish(message, options, std::move(status));
}

void ServerOperations::Finish(Status status) {
  ServerCallbackCall* call = CallOr([&] {
    finish_wanted_ = true;
    status_ = std::move(status);
  });
  if (call != nullptr) call->Finish(std::move(status));
}

void ServerOperations::Bind(ServerCallbackCall* call) {
  std::lock_guard lock(mu_);
  if (initial_wanted_) call->SendInitialMetadata();
  if (read_wanted_) call->Read(read_);
  if (write_wanted_) call->Write(write_, write_options_);
  if (write_and_finish_wanted_) call->WriteAndFinish(write_, write_options_, std::move(status_));
  if (finish_wanted_) call->Finish(std::move(status_));
  call_.store(call, std::memory_order_release);
}

}  // namespace ipcrpc::internal
