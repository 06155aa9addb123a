// One call as its handler sees it: what calls whose handler waits and callback calls have in common. Nothing here waits.
#pragma once

#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "ipcrpc/internal/call.h"
#include "ipcrpc/server_context.h"
#include "rpc/cancel_target.h"
#include "rpc/server_connection.h"

namespace ipcrpc::internal {

class ServerCallCore {
 public:
  // For the context, any thread.
  bool IsCancelled() const;
  void TryCancel();
  std::stop_token stop_token();
  PeerCredentials peer_credentials() const { return connection_->peer()->credentials; }
  std::string peer() const { return connection_->link().description(); }
  // Cancels `context` when this call is; until what it returns is dropped.
  std::shared_ptr<void> CancelTogether(ClientContext* context);
  std::vector<UniqueFd> TakeFds() { return stream_->TakeFds(); }
  std::shared_ptr<const AuthContext> auth_context() const { return connection_->auth_context(); }

 protected:
  ServerCallCore(std::shared_ptr<rpc::ServerConnection> connection, rpc::StreamPtr stream, rpc::Method* method);
  ~ServerCallCore();
  // First of all: the context speaks for this call.
  void Adopt(ServerContextBase& context, int64_t deadline_ns, std::string client_block);

  // As the client called it, which of a method that a generic service takes only the call knows.
  std::string MethodName() const;
  bool OutOfTime() const;
  int64_t deadline_ns() const { return context_->deadline_ns_; }
  // The next message, which is there or never comes; false: none, or one that does not parse.
  bool TakeMessage(const IncomingMessage& message);

  // By the writer. Once the call is to fail, nothing is sent any more but its end.
  bool CheckSend(const OutgoingMessage& message);
  rpc::Stream::Sending SendMessage(const OutgoingMessage& message);
  bool SendInitial();
  // The end of the call: the status, with OK the response, if given; the rest of the metadata.
  void SendStatus(const Status& handler_status, const OutgoingMessage* response);

  const std::shared_ptr<rpc::ServerConnection> connection_;
  const rpc::StreamPtr stream_;
  rpc::Method* const method_;

 private:
  class Dependents;
  std::shared_ptr<Dependents> WhatEndsWithIt();
  Status CheckMessage(const OutgoingMessage& message) const;
  // What was attached for the next message; null when nothing was.
  rpc::SharedFds TakeAttached();
  // The initial metadata as a block, once; empty after.
  std::string TakeInitialBlock();

  ServerContextBase* context_ = nullptr;
  Status forced_;  // what the call ends with whatever the handler says, unless OK
  std::mutex dependents_mu_;
  std::shared_ptr<Dependents> dependents_;  // made by the first
};

}  // namespace ipcrpc::internal
