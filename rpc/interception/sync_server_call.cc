#include "rpc/interception/sync_server_call.h"

#include <utility>

namespace ipcrpc::internal {

void InterceptedServerCall::Run(ServerInterception& interception, ServerCall& plain, RpcMethod::RpcType type, MethodHandler& handler,
                                UnaryReply& reply) {
  InterceptedServerCall call(interception, plain, type == RpcMethod::NORMAL_RPC || type == RpcMethod::CLIENT_STREAMING);
  Batch begin(interception);
  begin.ReceivesInitial();
  begin.Up();

  Batch finish(interception);
  finish.SendsStatus(handler.RunStream(call));
  call.ShowInitial(finish);
  finish.Down();
  const bool responds = call.response_.sends_message() && finish.status().ok();
  const OutgoingMessage response = responds ? call.response_.outgoing() : OutgoingMessage{};
  reply.Finish(finish.status(), responds ? &response : nullptr);
  call.response_.NoteSent(responds);
  call.response_.Up();

  Batch close(interception);
  close.ReceivesClose();
  close.Up();
}

void InterceptedServerCall::ShowInitial(Batch& operation) {
  if (!std::exchange(initial_shown_, true)) operation.SendsInitial();
}

bool InterceptedServerCall::Read(const IncomingMessage& message) {
  Batch read(interception_);
  read.Receives(message.message);
  read.NoteReceived(plain_.Read(message));
  read.Up();
  return read.received();
}

bool InterceptedServerCall::Write(const OutgoingMessage& message, WriteOptions options) {
  if (one_response_) {
    response_.Sends(message);
    ShowInitial(response_);
    response_.Down();
    response_.Serialise();  // the handler's message is gone by the time of the status
    return true;
  }
  Batch write(interception_);
  write.Sends(message);
  ShowInitial(write);
  write.Down();
  write.NoteSent(plain_.Write(write.outgoing(), options));
  write.Up();
  return write.sent();
}

void InterceptedServerCall::SendInitialMetadata() {
  Batch initial(interception_);
  ShowInitial(initial);
  initial.Down();
  plain_.SendInitialMetadata();
}

}  // namespace ipcrpc::internal
