#include "rpc/server_call.h"

#include <set>
#include <utility>

#include "ipcrpc/client_context.h"
#include "rpc/metadata.h"
#include "transport/base/clock.h"
#include "transport/base/strings.h"

namespace ipcrpc::internal {

using rpc::EntryKind;
using rpc::FrameType;

ServerCallCore::ServerCallCore(std::shared_ptr<rpc::ServerConnection> connection, rpc::StreamPtr stream, rpc::Method* method)
    : connection_(std::move(connection)), stream_(std::move(stream)), method_(method) {}

ServerCallCore::~ServerCallCore() {
  connection_->CallEnded();
  connection_->core().EndCall();
}

void ServerCallCore::Adopt(ServerContextBase& context, int64_t deadline_ns, std::string client_block) {
  context_ = &context;
  context.deadline_ns_ = deadline_ns;
  context.client_block_ = std::move(client_block);
  context.call_ = this;
}

std::string ServerCallCore::MethodName() const {
  return method_->name.empty() ? std::string(rpc::FindEntry(context_->client_block_, EntryKind::kMethodName)) : method_->name;
}

// ---- messages --------------------------------------------------------------------------------

bool ServerCallCore::TakeMessage(const IncomingMessage& message) {
  auto received = stream_->Take();
  // What does not parse looks like the end of reads.
  return received.has_value() && received->ParseInto(message);
}

bool ServerCallCore::CheckSend(const OutgoingMessage& message) {
  if (!forced_.ok()) return false;
  if (context_->send_fds_.empty() && connection_->core().limits().max_send_bytes == std::numeric_limits<int64_t>::max()) return true;
  forced_ = CheckMessage(message);
  return forced_.ok();
}

Status ServerCallCore::CheckMessage(const OutgoingMessage& message) const {
  if (!context_->send_fds_.empty()) {
    if (Status wrong = rpc::CheckFds(context_->send_fds_, connection_->link()); !wrong.ok()) return wrong;
  }
  const int64_t limit = connection_->core().limits().max_send_bytes;
  const size_t bytes = message.size(message.message);
  if (bytes <= static_cast<uint64_t>(limit)) return Status();
  return Status(StatusCode::RESOURCE_EXHAUSTED, Cat("a message of ", bytes, " bytes is larger than the server's send limit of ", limit));
}

rpc::SharedFds ServerCallCore::TakeAttached() {
  if (context_->send_fds_.empty()) [[likely]] return nullptr;
  return std::make_shared<const std::vector<UniqueFd>>(std::exchange(context_->send_fds_, {}));
}

rpc::Stream::Sending ServerCallCore::SendMessage(const OutgoingMessage& message) {
  if (IsCancelled() || !CheckSend(message)) return rpc::Stream::Sending::kClosed;
  const std::string block = TakeInitialBlock();
  if (!forced_.ok()) return rpc::Stream::Sending::kClosed;
  const rpc::SharedFds fds = TakeAttached();
  return stream_->Send({.type = FrameType::kMessage, .block = block, .fds = fds != nullptr ? &fds : nullptr}, &message);
}

bool ServerCallCore::SendInitial() {
  if (context_->initial_metadata_sent_) return !stream_->over();
  const std::string block = TakeInitialBlock();
  return forced_.ok() && stream_->Send({.type = FrameType::kInitial, .block = block}, nullptr) != rpc::Stream::Sending::kClosed;
}

std::string ServerCallCore::TakeInitialBlock() {
  std::string block;
  if (std::exchange(context_->initial_metadata_sent_, true) || context_->initial_metadata_.empty()) return block;
  if (Status wrong = rpc::AppendMetadata(block, EntryKind::kInitialMetadata, context_->initial_metadata_); !wrong.ok()) {
    forced_ = std::move(wrong);
    block.clear();
  }
  return block;
}

void ServerCallCore::SendStatus(const Status& handler_status, const OutgoingMessage* response) {
  Status status = forced_.ok() ? handler_status : forced_;
  if (response != nullptr && status.ok() && !CheckSend(*response)) status = forced_;
  std::string block = TakeInitialBlock();
  if (!forced_.ok()) status = forced_;
  if (OutOfTime()) status = Status(StatusCode::DEADLINE_EXCEEDED, "the deadline has passed");
  if (!context_->trailing_metadata_.empty()) {
    std::string trailing;
    if (Status wrong = rpc::AppendMetadata(trailing, EntryKind::kTrailingMetadata, context_->trailing_metadata_); !wrong.ok()) {
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
  if (!status.ok()) response = nullptr;
  const rpc::SharedFds fds = response != nullptr ? TakeAttached() : nullptr;
  connection_->FinishCall(*stream_, status, response, block, fds != nullptr ? &fds : nullptr);
}

// ---- for the context -------------------------------------------------------------------------

bool ServerCallCore::OutOfTime() const {
  return context_->deadline_ns_ != kNoDeadline && MonotonicNs() >= context_->deadline_ns_;
}

bool ServerCallCore::IsCancelled() const { return stream_->over() || OutOfTime(); }

// With that the call may end on another thread, and this with it.
void ServerCallCore::TryCancel() {
  const std::shared_ptr<rpc::ServerConnection> connection = connection_;
  const rpc::StreamPtr stream = stream_;
  connection->AbortCall(*stream, Status(StatusCode::CANCELLED, "the server cancelled the call"));
}

// What ends with the call: nested calls, and whoever waits for a stop. Shared by the stream, which cancels them, and by
// the contexts, which leave.
class ServerCallCore::Dependents final : public CancelTarget {
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

std::shared_ptr<ServerCallCore::Dependents> ServerCallCore::WhatEndsWithIt() {
  {
    std::lock_guard lock(dependents_mu_);
    if (dependents_ != nullptr) return dependents_;
    dependents_ = std::make_shared<Dependents>();
  }
  stream_->CancelAtEnd(dependents_);  // at once if it is over
  return dependents_;
}

std::stop_token ServerCallCore::stop_token() { return WhatEndsWithIt()->stop_token(); }

std::shared_ptr<void> ServerCallCore::CancelTogether(ClientContext* context) {
  const std::shared_ptr<Dependents> dependents = WhatEndsWithIt();
  dependents->Add(context);
  if (stream_->over()) context->TryCancel();  // it may have ended before this one was in the list
  return std::shared_ptr<void>(context, [dependents](void* removed) { dependents->Remove(static_cast<ClientContext*>(removed)); });
}

}  // namespace ipcrpc::internal
