#include "ipcrpc/server_context.h"

#include <utility>

#include "rpc/interception/server_interception.h"
#include "rpc/metadata.h"
#include "rpc/server_call.h"

namespace ipcrpc {

ServerContextBase::ServerContextBase() = default;
ServerContextBase::~ServerContextBase() = default;

const std::multimap<string_ref, string_ref>& ServerContextBase::client_metadata() const {
  if (!std::exchange(client_parsed_, true)) {
    client_metadata_ = rpc::ReadMetadata(client_block_, rpc::EntryKind::kInitialMetadata);
  }
  return client_metadata_;
}

void ServerContextBase::AddInitialMetadata(const std::string& key, const std::string& value) {
  initial_metadata_.emplace(key, value);
}

void ServerContextBase::AddTrailingMetadata(const std::string& key, const std::string& value) {
  trailing_metadata_.emplace(key, value);
}

bool ServerContextBase::IsCancelled() const { return call_ != nullptr && call_->IsCancelled(); }

std::stop_token ServerContextBase::stop_token() const { return call_ == nullptr ? std::stop_token() : call_->stop_token(); }

std::vector<UniqueFd> ServerContextBase::TakeFds() {
  return call_ == nullptr ? std::vector<UniqueFd>() : call_->TakeFds();
}

void ServerContextBase::TryCancel() const {
  if (interception_ != nullptr) [[unlikely]] interception_->ShowCancel();
  if (call_ != nullptr) call_->TryCancel();
}

std::string ServerContextBase::peer() const { return call_ == nullptr ? "ipcrpc:none" : call_->peer(); }

PeerCredentials ServerContextBase::peer_credentials() const {
  return call_ == nullptr ? PeerCredentials() : call_->peer_credentials();
}

std::shared_ptr<const AuthContext> ServerContextBase::auth_context() const {
  return call_ == nullptr ? std::make_shared<const AuthContext>(std::multimap<std::string, std::string>()) : call_->auth_context();
}

}  // namespace ipcrpc
