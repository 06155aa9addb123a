#include "ipcrpc/client_context.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "ipcrpc/internal/call.h"
#include "ipcrpc/server_context.h"
#include "rpc/cancel_target.h"
#include "rpc/metadata.h"
#include "rpc/server_call.h"

namespace ipcrpc {

ClientContext::ClientContext() = default;
// First of all the served call forgets this one.
ClientContext::~ClientContext() { propagation_.reset(); }

void ClientContext::AddMetadata(const std::string& key, const std::string& value) { send_metadata_.emplace(key, value); }

const std::multimap<string_ref, string_ref>& ClientContext::GetServerInitialMetadata() const {
  if (!std::exchange(initial_parsed_, !initial_block_.empty())) {
    initial_metadata_ = rpc::ReadMetadata(initial_block_, rpc::EntryKind::kInitialMetadata);
  }
  return initial_metadata_;
}

const std::multimap<string_ref, string_ref>& ClientContext::GetServerTrailingMetadata() const {
  if (!std::exchange(trailing_parsed_, !trailing_block_.empty())) {
    trailing_metadata_ = rpc::ReadMetadata(trailing_block_, rpc::EntryKind::kTrailingMetadata);
  }
  return trailing_metadata_;
}

void ClientContext::TryCancel() {
  std::lock_guard lock(mu_);
  cancelled_ = true;
  if (call_ != nullptr) call_->Cancel();
}

void ClientContext::Use(const internal::RpcMethod& method) {
  if (!std::exchange(used_, true)) return;
  std::fprintf(stderr, "ipcrpc: a ClientContext serves one call; it was used for a second one (%s)\n", method.name());
  std::abort();
}

void ClientContext::Lend(ClientContext& own, internal::CancelTarget* call, const internal::RpcMethod& method) {
  Use(method);
  own.send_metadata_ = std::move(send_metadata_);
  own.deadline_ns_ = deadline_ns_;
  own.wait_for_ready_ = wait_for_ready_;
  own.corked_ = corked_;
  own.authority_ = std::move(authority_);
  std::lock_guard lock(mu_);
  own.cancelled_ = cancelled_.load();
  call_ = call;
}

void ClientContext::LearnBegin(const ClientContext& own) {
  initial_block_ = own.initial_block_;
  std::scoped_lock lock(mu_, own.mu_);
  peer_ = own.peer_;
}

void ClientContext::LearnEnd(ClientContext& own) {
  trailing_block_ = std::move(own.trailing_block_);
  Part();
}

void ClientContext::Part() {
  std::lock_guard lock(mu_);
  call_ = nullptr;
}

std::unique_ptr<ClientContext> ClientContext::FromServerContext(const ServerContext& server_context, PropagationOptions options) {
  return FromBase(server_context, options);
}

std::unique_ptr<ClientContext> ClientContext::FromCallbackServerContext(const CallbackServerContext& server_context,
                                                                        PropagationOptions options) {
  return FromBase(server_context, options);
}

std::unique_ptr<ClientContext> ClientContext::FromBase(const ServerContextBase& server_context, PropagationOptions options) {
  auto context = std::make_unique<ClientContext>();
  if (options.deadline()) context->deadline_ns_ = server_context.deadline_ns_;
  if (options.cancellation() && server_context.call_ != nullptr) {
    context->propagation_ = server_context.call_->CancelTogether(context.get());
  }
  return context;
}

std::string ClientContext::peer() const {
  std::lock_guard lock(mu_);
  return peer_ == nullptr ? "ipcrpc:not-connected" : *peer_;
}

}  // namespace ipcrpc
