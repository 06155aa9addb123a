// A server's call whose handler runs from its begin to its end.
#pragma once

#include <memory>
#include <string>

#include "rpc/recycled.h"
#include "rpc/server_call.h"

namespace ipcrpc::internal {

// Runs once, on the poller or a worker, and deletes itself.
class SyncServerCall final : public ServerCall,
                             public PollerTask,
                             private ServerCallCore,
                             private UnaryReply,
                             public rpc::Recycled<SyncServerCall> {
 public:
  SyncServerCall(std::shared_ptr<rpc::ServerConnection> connection, rpc::StreamPtr stream, rpc::Method* method,
                 int64_t deadline_ns, std::string client_block);

  // PollerTask; also on a worker.
  void Run() override;
  // Instead of running.
  void Refuse(const Status& why);

  // ServerCall
  ServerContext* context() override { return &context_; }
  bool Read(const IncomingMessage& message) override;
  bool NextMessageSize(uint32_t* size) override;
  bool Write(const OutgoingMessage& message, WriteOptions options) override;
  void SendInitialMetadata() override { SendInitial(); }

 private:
  void Finish(const Status& status, const OutgoingMessage* response) override;
  void RunHandler();
  // False: nobody intercepts this one.
  bool RunIntercepted();
  void RunUnaryHandler();
  bool AwaitMessage();
  template <typename Done>
  bool Await(Done&& done);

  ServerContext context_;
  uint64_t began_ticks_ = 0;  // of a unary handler, as the next
  size_t request_bytes_ = 0;
};

}  // namespace ipcrpc::internal
