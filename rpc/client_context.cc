#include "ipcrpc/client_context.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "ipcrpc/internal/call.h"
#include "ipcrpc/server_context.h"
#include "rpc/cancel_target.h"
#include "rpc/client_call.h"
#include "rpc/interception/client_interception.h"
#include "rpc/metadata.h"
#include "rpc/server_call.h"
#include "transport/base/scm_rights.h"

namespace ipcrpc {

ClientContext::ClientContext() = default;
ClientContext::~ClientContext() {
  propagation_.reset();  // first of all the served call forgets this one
  if (!received_fds_.empty()) CloseElsewhere(std::move(received_fds_));
}

void ClientContext::AddMetadata(const std::string& key, const std::string& value) { send_metadata_.emplace(key, value); }

const std::multimap<string_ref, string_ref>& ClientContext::GetServerInitialMetadata() const {
  if (!initial_parsed_ && !initial_block_.empty()) {
    initial_parsed_ = true;
    initial_metadata_ = rpc::ReadMetadata(initial_block_, rpc::EntryKind::kInitialMetadata);
  }
  return initial_metadata_;
}

const std::multimap<string_ref, string_ref>& ClientContext::GetServerTrailingMetadata() const {
  if (!trailing_parsed_ && !trailing_block_.empty()) {
    trailing_parsed_ = true;
    trailing_metadata_ = rpc::ReadMetadata(trailing_block_, rpc::EntryKind::kTrailingMetadata);
  }
  return trailing_metadata_;
}

internal::CancelTarget* ClientContext::Ended() {
  struct Nothing final : internal::CancelTarget {
    void Cancel() override {}
  };
  static Nothing nothing;
  return &nothing;
}

void ClientContext::TryCancel() {
  std::lock_guard lock(mu_);
  cancelled_.store(true, std::memory_order_seq_cst);
  if (interception_ != nullptr) [[unlikely]] interception_->ShowCancel();
  if (internal::CancelTarget* const call = call_.load(std::memory_order_seq_cst); call != nullptr) call->Cancel();
}

void ClientContext::Lend(ClientContext& own, internal::CancelTarget* call, const internal::RpcMethod& method) {
  if (std::exchange(used_, true)) internal::StopForSecondUse(method);
  LendFds(own);
  own.send_metadata_ = std::move(send_metadata_);
  own.deadline_ns_ = deadline_ns_;
  own.wait_for_ready_ = wait_for_ready_;
  own.corked_ = corked_;
  own.authority_ = std::move(authority_);
  std::lock_guard lock(mu_);
  own.cancelled_ = cancelled_.load();
  call_ = call;
}

void ClientContext::LendFds(ClientContext& own) {
  for (UniqueFd& fd : send_fds_) own.send_fds_.push_back(std::move(fd));
  send_fds_.clear();
}

void ClientContext::LearnFds(ClientContext& own) { CloseElsewhere(std::exchange(received_fds_, std::exchange(own.received_fds_, {}))); }

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
  call_ = Ended();
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

const rpc::Peer* ClientContext::PeerLocked() const {
  return call_.load(std::memory_order_acquire) == nullptr ? nullptr : peer_.get();
}

std::string ClientContext::peer() const {
  std::lock_guard lock(mu_);
  const rpc::Peer* const peer = PeerLocked();
  return peer == nullptr ? "ipcrpc:not-connected" : peer->description;
}

PeerCredentials ClientContext::peer_credentials() const {
  std::lock_guard lock(mu_);
  const rpc::Peer* const peer = PeerLocked();
  return peer == nullptr ? PeerCredentials() : peer->credentials;
}

}  // namespace ipcrpc
