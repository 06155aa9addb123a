#include "rpc/sync_server_call.h"

#include <utility>

#include "rpc/interception/sync_server_call.h"
#include "transport/base/ticks.h"

namespace ipcrpc::internal {

void MethodHandler::RunUnary(ServerContext*, std::span<const std::byte>, UnaryReply& reply) {
  reply.Finish(Status(StatusCode::UNIMPLEMENTED, "the method is not unary"), nullptr);
}

Status MethodHandler::RunStream(ServerCall&) { return Status(StatusCode::UNIMPLEMENTED, "the method is unary"); }

SyncServerCall::SyncServerCall(std::shared_ptr<rpc::ServerConnection> connection, rpc::StreamPtr stream, rpc::Method* method,
                               int64_t deadline_ns, std::string client_block)
    : ServerCallCore(std::move(connection), std::move(stream), method) {
  Adopt(context_, deadline_ns, std::move(client_block));
}

void SyncServerCall::Run() {
  if (!connection_->core().intercepts() || !RunIntercepted()) [[likely]] RunHandler();
  delete this;
}

void SyncServerCall::RunHandler() {
  if (method_->type == RpcMethod::NORMAL_RPC) {
    RunUnaryHandler();
  } else {
    Finish(method_->handler->RunStream(*this), nullptr);
  }
}

bool SyncServerCall::RunIntercepted() {
  const auto interception = ServerInterception::Begin(connection_->core().interceptors(), context_, method_->name, method_->type);
  if (interception == nullptr) return false;
  if (method_->type == RpcMethod::NORMAL_RPC) began_ticks_ = Ticks();
  InterceptedServerCall::Run(*interception, *this, method_->type, *method_->handler, *this);
  return true;
}

void SyncServerCall::Refuse(const Status& why) {
  Finish(why, nullptr);
  delete this;
}

void SyncServerCall::RunUnaryHandler() {
  auto request = stream_->Take();
  if (!request.has_value()) {  // cancelled before it began
    Finish(Status(StatusCode::CANCELLED, "the call was cancelled"), nullptr);
    return;
  }
  request_bytes_ = request->size();
  began_ticks_ = Ticks();
  rpc::Buffer joined;
  method_->handler->RunUnary(&context_, request->Join(joined), *this);
}

void SyncServerCall::Finish(const Status& status, const OutgoingMessage* response) {
  // Before it is sent: the wake may give this processor to the client.
  if (began_ticks_ != 0) method_->times.NoteRun(Ticks() - began_ticks_, request_bytes_);
  SendStatus(status, response);
}

template <typename Done>
bool SyncServerCall::Await(Done&& done) {
  return connection_->WaitUntil(*stream_, done, deadline_ns());
}

bool SyncServerCall::AwaitMessage() {
  const auto done = [this] { return stream_->MessageReady() || stream_->NoMoreMessages(); };
  if (!done()) {
    stream_->GrantForReader();
    if (!Await(done)) return false;
  }
  return stream_->MessageReady() && !IsCancelled();
}

bool SyncServerCall::Read(const IncomingMessage& message) {
  if (!AwaitMessage()) return false;
  if (began_ticks_ != 0) request_bytes_ = stream_->NextSize().value_or(0);
  return TakeMessage(message);
}

bool SyncServerCall::NextMessageSize(uint32_t* size) {
  if (!AwaitMessage()) return false;
  const std::optional<uint32_t> next = stream_->NextSize();
  if (next.has_value()) *size = *next;
  return next.has_value();
}

bool SyncServerCall::Write(const OutgoingMessage& message, WriteOptions) {
  if (SendMessage(message) == rpc::Stream::Sending::kClosed) return false;
  const auto done = [this] { return stream_->over() || stream_->Drained(); };
  if (!done() && !Await(done)) return false;  // the deadline
  return !stream_->over();
}

}  // namespace ipcrpc::internal
