#include "rpc/callback_server_call.h"

#include <cstring>
#include <utility>

#include "rpc/interception/callback_server_call.h"

namespace ipcrpc::internal {

using Sending = rpc::Stream::Sending;

void MethodHandler::RunCallback(ServerCallbackCall& call) {
  call.FailAtOnce(Status(StatusCode::UNIMPLEMENTED, "the method has no callback handler"));
}

CallbackServerCall::CallbackServerCall(std::shared_ptr<rpc::ServerConnection> connection, rpc::StreamPtr stream,
                                       rpc::Method* method, int64_t deadline_ns, std::string client_block)
    : ServerCallCore(std::move(connection), std::move(stream), method), Reactions(connection_->runtime(), method->times) {
  Adopt(context_, deadline_ns, std::move(client_block));
  set_poller(connection_->poller());
}

CallbackServerCall::~CallbackServerCall() {
  if (release_ != nullptr) release_(released_object_);
}

void CallbackServerCall::Start() {
  connection_->WatchDeadline(stream_, deadline_ns());
  Fire(kHandler);
}

// ---- the handler -----------------------------------------------------------------------------

void CallbackServerCall::RunHandler() {
  if (method_->type == RpcMethod::NORMAL_RPC || method_->type == RpcMethod::SERVER_STREAMING) {
    auto request = stream_->Take();
    if (!request.has_value()) return FailAtOnce(Status(StatusCode::CANCELLED, "the call was cancelled"));
    request_ = *std::move(request);
  }
  if (!connection_->core().intercepts() || !RunIntercepted()) [[likely]] method_->handler->RunCallback(*this);
}

bool CallbackServerCall::RunIntercepted() {
  auto interception = ServerInterception::Begin(connection_->core().interceptors(), context_, MethodName(), method_->type);
  if (interception == nullptr) return false;
  InterceptedCallbackServerCall::Run(std::move(interception), *this, *method_);
  return true;
}

void* CallbackServerCall::Allocate(size_t bytes) {
  if (bytes <= kMemoryBytes) return memory_;
  more_memory_.reset(new std::byte[bytes]);
  return more_memory_.get();
}

void CallbackServerCall::ReleaseAtEnd(void* object, void (*release)(void* object)) {
  released_object_ = object;
  release_ = release;
}

void CallbackServerCall::Bind(ServerReactor* reactor, const OutgoingMessage* response) {
  reactor_ = reactor;
  has_response_ = response != nullptr;
  if (has_response_) response_ = *response;
  reactor->operations().Bind(this);
  // The usual unary call has been finished by now, and has nothing to hear of.
  observes_ = outstanding_.load(std::memory_order_acquire) != 1;
  if (observes_) stream_->Observe(this);
}

void CallbackServerCall::FailAtOnce(const Status& status) {
  finished_ = true;
  SendStatus(status, nullptr);
  outstanding_.fetch_sub(1, std::memory_order_relaxed);
}

// ---- operations ------------------------------------------------------------------------------

void CallbackServerCall::SendInitialMetadata() {
  outstanding_.fetch_add(1, std::memory_order_relaxed);
  initial_ok_ = SendInitial();
  Fire(kInitial);
}

void CallbackServerCall::Read(const IncomingMessage& message) {
  outstanding_.fetch_add(1, std::memory_order_relaxed);
  read_ = message;
  if (!stream_->MessageReady()) stream_->GrantForReader();
  stream_->Locked([this] {
    read_waits_ = true;
    OnStreamEvent();
  });
}

void CallbackServerCall::Write(const OutgoingMessage& message, WriteOptions options) {
  outstanding_.fetch_add(1, std::memory_order_relaxed);
  if (!options.is_last_message()) return NoteWrite(SendMessage(message));
  if (IsCancelled() || !CheckSend(message)) return NoteWrite(Sending::kClosed);
  const size_t bytes = message.size(message.message);
  if (bytes != 0) message.write(message.message, held_.Extend(bytes), bytes);
  holds_ = true;
  NoteWrite(Sending::kDone);
}

void CallbackServerCall::NoteWrite(Sending sent) {
  if (sent == Sending::kQueued) {
    return stream_->Locked([this] {
      write_waits_ = true;
      OnStreamEvent();
    });
  }
  write_ok_ = sent == Sending::kDone;
  Fire(kWrite);
}

void CallbackServerCall::WriteAndFinish(const OutgoingMessage& message, WriteOptions, Status status) {
  FinishWith(status, &message);
}

void CallbackServerCall::Finish(Status status) {
  if (!holds_) return FinishWith(status, nullptr);
  const OutgoingMessage held = {.message = &held_,
                                .size = [](const void* copy) { return static_cast<const rpc::Buffer*>(copy)->size(); },
                                .write = [](const void* copy, std::byte* out, size_t size) {
                                  std::memcpy(out, static_cast<const rpc::Buffer*>(copy)->data(), size);
                                }};
  FinishWith(status, &held);
}

void CallbackServerCall::FinishWith(const Status& status, const OutgoingMessage* last) {
  bool again = false;
  stream_->Locked([&] {
    again = std::exchange(finished_, true);
    if (std::exchange(read_waits_, false)) Fire(kRead);
  });
  if (again) return;
  // Only an OK takes a message along; what was written to a stream before another status goes before it.
  if (last != nullptr && !status.ok()) {
    SendMessage(*last);
    last = nullptr;
  }
  SendStatus(status, last != nullptr ? last : has_response_ ? &response_ : nullptr);
  Release();
}

void CallbackServerCall::Release() {
  if (outstanding_.fetch_sub(1, std::memory_order_acq_rel) == 1) Fire(kDone);
}

// ---- what happens ----------------------------------------------------------------------------

void CallbackServerCall::OnStreamEvent() {
  uint32_t due = 0;
  const bool over = stream_->over();
  if (read_waits_ && (finished_ || stream_->MessageReady() || stream_->NoMoreMessages())) {
    read_waits_ = false;
    due |= kRead;
  }
  if (write_waits_ && (over || stream_->DrainedLocked())) {
    write_waits_ = false;
    write_ok_ = !over;
    due |= kWrite;
  }
  if (over && !finished_ && !std::exchange(cancel_told_, true)) {
    outstanding_.fetch_add(1, std::memory_order_relaxed);
    due |= kCancel;
  }
  if (due != 0) Fire(due);
}

bool CallbackServerCall::React(uint32_t due) {
  int ran = 0;
  if ((due & kHandler) != 0) {
    RunHandler();
    ++ran;
  }
  if ((due & kInitial) != 0) {
    reactor_->OnSendInitialMetadataDone(initial_ok_);
    ++ran;
  }
  if ((due & kWrite) != 0) {
    reactor_->OnWriteDone(write_ok_);
    ++ran;
  }
  if ((due & kRead) != 0) {
    reactor_->OnReadDone(!IsCancelled() && TakeMessage(read_));
    ++ran;
  }
  if ((due & kCancel) != 0) {
    reactor_->OnCancel();
    ++ran;
  }
  // None, when it was Finish() that came last.
  if (ran != 0 && outstanding_.fetch_sub(ran, std::memory_order_acq_rel) != ran) return false;
  if (observes_) stream_->Observe(nullptr);
  if (reactor_ != nullptr) reactor_->OnDone();
  return true;
}

}  // namespace ipcrpc::internal
