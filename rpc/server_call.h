// One call as its handler sees it.
#pragma once

#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "ipcrpc/internal/call.h"
#include "ipcrpc/server_context.h"
#include "rpc/cancel_target.h"
#include "rpc/recycled.h"
#include "rpc/server_connection.h"

namespace ipcrpc::internal {

// Runs once, on the poller or a worker, and deletes itself.
class ServerCallImpl final : public ServerCall, public UnaryReply, public PollerTask, public rpc::Recycled<ServerCallImpl> {
 public:
  ServerCallImpl(std::shared_ptr<rpc::ServerConnection> connection, rpc::StreamPtr stream, rpc::Method* method,
                 int64_t deadline_ns, std::string client_block);
  ~ServerCallImpl() override;

  // PollerTask: a unary call, on the poller.
  void Run() override;
  // On a worker.
  void RunOnWorker();

  // ServerCall
  ServerContext* context() override { return &context_; }
  bool Read(const IncomingMessage& message) override;
  bool NextMessageSize(uint32_t* size) override;
  bool Write(const OutgoingMessage& message, WriteOptions options) override;
  void SendInitialMetadata() override;

  // UnaryReply
  void Finish(const Status& status, const OutgoingMessage* response) override;

  // For the context, any thread.
  bool IsCancelled() const;
  void TryCancel();
  std::stop_token stop_token();
  std::string peer() const { return connection_->link().description(); }
  // Cancels `context` when this call is; until what it returns is dropped.
  std::shared_ptr<void> CancelTogether(ClientContext* context);
  std::shared_ptr<const AuthContext> auth_context() const { return connection_->auth_context(); }

 private:
  void RunUnaryHandler();
  void RunStreamHandler();
  bool AwaitMessage();
  bool CheckSend(const OutgoingMessage& message);
  bool OutOfTime() const;
  // The initial metadata as a block, once; empty after.
  std::string TakeInitialBlock();
  template <typename Done>
  bool Await(Done&& done);

  const std::shared_ptr<rpc::ServerConnection> connection_;
  const rpc::StreamPtr stream_;
  rpc::Method* const method_;
  ServerContext context_;
  uint64_t began_ticks_ = 0;  // of a unary handler
  class Dependents;
  std::shared_ptr<Dependents> WhatEndsWithIt();
  std::mutex dependents_mu_;
  std::shared_ptr<Dependents> dependents_;  // made by the first
  Status forced_;  // what the call ends with whatever the handler says, unless OK
};

}  // namespace ipcrpc::internal
