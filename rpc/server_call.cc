#include "rpc/server_call.h"

#include <set>
#include <utility>

#include "ipcrpc/client_context.h"
#include "rpc/metadata.h"
#include "transport/base/clock.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace internal {

using rpc::EntryKind;
using rpc::FrameType;

void MethodHandler::RunUnary(ServerContext*, std::span<const std::byte>, UnaryReply& reply) {
  reply.Finish(Status(StatusCode::UNIMPLEMENTED, "the method is not unary"), nullptr);
}

Status MethodHandler::RunStream(ServerCall&) { return Status(StatusCode::UNIMPLEMENTED, "the method is unary"); }

ServerCallImpl::ServerCallImpl(std::shared_ptr<rpc::ServerConnection> connection, rpc::StreamPtr stream, rpc::Method* method,
                               int64_t deadline_ns, std::string client_block)
    : connection_(std::move(connection)), stream_(std::move(stream)), method_(method) {
  context_.deadline_ns_ = deadline_ns;
  context_.client_block_ = std::move(client_block);
  context_.call_ = this;
}

ServerCallImpl::~ServerCallImpl() {
  connection_->CallEnded();
  connection_->core().EndCall();
}

void ServerCallImpl::Run() {
  RunUnaryHandler();
  delete this;
}

void ServerCallImpl::RunOnWorker() {
  if (method_->type == RpcMethod::NORMAL_RPC) {
    RunUnaryHandler();
  } else {
    RunStreamHandler();
  }
  delete this;
}

void ServerCallImpl::RunUnaryHandler() {
  const auto request = stream_->Take();
  if (!request.has_value()) {  // cancelled before it began
    Finish(Status(StatusCode::CANCELLED, "the call was cancelled"), nullptr);
    return;
  }
  began_ticks_ = Ticks();
  method_->handler->RunUnary(&context_, *request, *this);
}

void ServerCallImpl::RunStreamHandler() { Finish(method_->handler->RunStream(*this), nullptr); }

void ServerCallImpl::Finish(const Status& handler_status, const OutgoingMessage* response) {
  // Before it is sent: the wake may give this processor to the client.
  if (began_ticks_ != 0) method_->NoteRun(Ticks() - began_ticks_);
  Status status = forced_.ok() ? handler_status : forced_;
  if (response != nullptr && status.ok() && !CheckSend(*response)) status = forced_;
  std::string block = TakeInitialBlock();
  if (!forced_.ok()) status = forced_;
  if (OutOfTime()) status = Status(StatusCode::DEADLINE_EXCEEDED, "the deadline has passed");
  if (!context_.trailing_metadata_.empty()) {
    std::string trailing;
    if (Status wrong = rpc::AppendMetadata(trailing, EntryKind::kTrailingMetadata, context_.trailing_metadata_); !wrong.ok()) {
      status = std::move(wrong);
      trailing.clear();
    }
    // Together with the status they must fit one block.
    if (block.size() + trailing.size() > rpc::kMaxMetadataBytes) {
      stream_->Send({.type = FrameType::kInitial, .block = block}, nullptr);
      block.clear();
    }
    block += trailing;
  }
  connection_->FinishCall(stream_, status, status.ok() ? response : nullptr, block);
}

template <typename Done>
bool ServerCallImpl::Await(Done&& done) {
  return connection_->WaitUntil(*stream_, done, context_.deadline_ns_);
}

bool ServerCallImpl::AwaitMessage() {
  const auto done = [this] { return stream_->MessageReady() || stream_->NoMoreMessages(); };
  if (!done()) {
    stream_->GrantForReader();
    if (!Await(done)) return false;
  }
  return stream_->MessageReady() && !IsCancelled();
}

bool ServerCallImpl::Read(const IncomingMessage& message) {
  if (!AwaitMessage()) return false;
  const auto bytes = stream_->Take();
  // What does not parse looks like the end of reads.
  return bytes.has_value() && message.parse(message.message, bytes->data(), bytes->size());
}

bool ServerCallImpl::NextMessageSize(uint32_t* size) {
  if (!AwaitMessage()) return false;
  const std::optional<uint32_t> next = stream_->NextSize();
  if (next.has_value()) *size = *next;
  return next.has_value();
}

bool ServerCallImpl::CheckSend(const OutgoingMessage& message) {
  const int64_t limit = connection_->core().limits().max_send_bytes;
  if (limit == std::numeric_limits<int64_t>::max()) return true;
  const size_t bytes = message.size(message.message);
  if (bytes <= static_cast<uint64_t>(limit)) return true;
  forced_ = Status(StatusCode::RESOURCE_EXHAUSTED, Cat("a message of ", bytes, " bytes is larger than the server's send limit of ", limit));
  return false;
}

bool ServerCallImpl::Write(const OutgoingMessage& message, WriteOptions) {
  if (!forced_.ok() || IsCancelled() || !CheckSend(message)) return false;
  const std::string block = TakeInitialBlock();
  if (!forced_.ok()) return false;
  if (!stream_->Send({.type = FrameType::kMessage, .block = block}, &message)) return false;
  const auto done = [this] { return stream_->over() || stream_->Drained(); };
  if (!done() && !Await(done)) return false;  // the deadline
  return !stream_->over();
}

void ServerCallImpl::SendInitialMetadata() {
  if (context_.initial_metadata_sent_) return;
  const std::string block = TakeInitialBlock();
  if (forced_.ok()) stream_->Send({.type = FrameType::kInitial, .block = block}, nullptr);
}

std::string ServerCallImpl::TakeInitialBlock() {
  std::string block;
  if (std::exchange(context_.initial_metadata_sent_, true) || context_.initial_metadata_.empty()) return block;
  if (Status wrong = rpc::AppendMetadata(block, EntryKind::kInitialMetadata, context_.initial_metadata_); !wrong.ok()) {
    forced_ = std::move(wrong);
    block.clear();
  }
  return block;
}

bool ServerCallImpl::OutOfTime() const {
  return context_.deadline_ns_ != kNoDeadline && MonotonicNs() >= context_.deadline_ns_;
}

bool ServerCallImpl::IsCancelled() const { return stream_->over() || OutOfTime(); }

void ServerCallImpl::TryCancel() {
  connection_->AbortCall(stream_, Status(StatusCode::CANCELLED, "the server cancelled the call"));
}

// What ends with the call: nested calls, and whoever waits for a stop. Shared by the stream, which cancels them, and by
// the contexts, which leave.
class ServerCallImpl::Dependents final : public CancelTarget {
 public:
  void Add(ClientContext* context) {
    std::lock_guard lock(mu_);
    contexts_.insert(context);
  }
  // After it returns the context is not touched any more.
  void Remove(ClientContext* context) {
    std::lock_guard lock(mu_);
    contexts_.erase(context);
  }
  std::stop_token stop_token() const { return stop_.get_token(); }

  void Cancel() override {
    stop_.request_stop();
    std::lock_guard lock(mu_);
    for (ClientContext* context : contexts_) context->TryCancel();
  }

 private:
  std::stop_source stop_;
  std::mutex mu_;
  std::set<ClientContext*> contexts_;
};

std::shared_ptr<ServerCallImpl::Dependents> ServerCallImpl::WhatEndsWithIt() {
  {
    std::lock_guard lock(dependents_mu_);
    if (dependents_ != nullptr) return dependents_;
    dependents_ = std::make_shared<Dependents>();
  }
  stream_->CancelAtEnd(dependents_);  // at once if it is over
  return dependents_;
}

std::stop_token ServerCallImpl::stop_token() { return WhatEndsWithIt()->stop_token(); }

std::shared_ptr<void> ServerCallImpl::CancelTogether(ClientContext* context) {
  const std::shared_ptr<Dependents> dependents = WhatEndsWithIt();
  dependents->Add(context);
  if (stream_->over()) context->TryCancel();  // it may have ended before this one was in the list
  return std::shared_ptr<void>(context, [dependents](void* removed) { dependents->Remove(static_cast<ClientContext*>(removed)); });
}

}  // namespace internal

ServerContext::ServerContext() = default;
ServerContext::~ServerContext() = default;

const std::multimap<string_ref, string_ref>& ServerContext::client_metadata() const {
  if (!std::exchange(client_parsed_, true)) {
    client_metadata_ = rpc::ReadMetadata(client_block_, rpc::EntryKind::kInitialMetadata);
  }
  return client_metadata_;
}

void ServerContext::AddInitialMetadata(const std::string& key, const std::string& value) {
  initial_metadata_.emplace(key, value);
}

void ServerContext::AddTrailingMetadata(const std::string& key, const std::string& value) {
  trailing_metadata_.emplace(key, value);
}

bool ServerContext::IsCancelled() const { return call_ != nullptr && call_->IsCancelled(); }

std::stop_token ServerContext::stop_token() const { return call_ == nullptr ? std::stop_token() : call_->stop_token(); }

void ServerContext::TryCancel() const {
  if (call_ != nullptr) call_->TryCancel();
}

std::string ServerContext::peer() const { return call_ == nullptr ? "ipcrpc:none" : call_->peer(); }

std::shared_ptr<const AuthContext> ServerContext::auth_context() const {
  return call_ == nullptr ? std::make_shared<const AuthContext>(std::multimap<std::string, std::string>()) : call_->auth_context();
}

}  // namespace ipcrpc
