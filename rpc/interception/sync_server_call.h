// An intercepted server's call whose handler runs from its begin to its end.
#pragma once

#include "ipcrpc/internal/call.h"
#include "rpc/interception/server_interception.h"

namespace ipcrpc::internal {

// Stands between the handler and a plain call: each operation is a batch, down before the plain call has it or up before the
// handler does.
class InterceptedServerCall final : public ServerCall {
 public:
  // Runs the handler, also that of a unary method, on the calling thread, and finishes the call.
  static void Run(ServerInterception& interception, ServerCall& plain, RpcMethod::RpcType type, MethodHandler& handler,
                  UnaryReply& reply);

  ServerContext* context() override { return plain_.context(); }
  bool Read(const IncomingMessage& message) override;
  bool NextMessageSize(uint32_t* size) override { return plain_.NextMessageSize(size); }
  bool Write(const OutgoingMessage& message, WriteOptions options) override;
  void SendInitialMetadata() override;

 private:
  InterceptedServerCall(ServerInterception& interception, ServerCall& plain, bool one_response)
      : interception_(interception), plain_(plain), one_response_(one_response), response_(interception) {}

  // By the writer.
  void ShowInitial(Batch& operation);

  ServerInterception& interception_;
  ServerCall& plain_;
  const bool one_response_;  // which goes with the status
  Batch response_;
  bool initial_shown_ = false;
};

}  // namespace ipcrpc::internal
