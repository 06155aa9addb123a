#include "rpc/callback_client_call.h"

#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "rpc/convert.h"
#include "rpc/interception/callback_client_call.h"
#include "transport/base/clock.h"

namespace ipcrpc::internal {

using rpc::ClientChannel;
using rpc::FrameType;
using Sending = rpc::Stream::Sending;

namespace {

ClientChannel* Real(ChannelInterface* channel) { return static_cast<ClientChannel*>(channel); }

// Null: the plain call is all there is.
InterceptedCallbackClientCall* MakeIntercepted(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                               ClientReactor* reactor, std::function<void(Status)>& on_done,
                                               const OutgoingMessage* request, const IncomingMessage* response) {
  ClientInterception* const interception = ClientInterception::Begin(*InterceptedChannel::Of(channel), method, *context);
  if (interception == nullptr) return nullptr;
  return new InterceptedCallbackClientCall(*interception, method, reactor, std::move(on_done), request, response);
}

}  // namespace

ClientCallbackCall* ClientCallbackCall::Make(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                             ClientReactor* reactor, const OutgoingMessage* request,
                                             const IncomingMessage* response) {
  if (InterceptedChannel::Of(channel) != nullptr) [[unlikely]] {
    std::function<void(Status)> none;
    ClientCallbackCall* const call = MakeIntercepted(channel, method, context, reactor, none, request, response);
    if (call != nullptr) return call;
    channel = InterceptedChannel::Of(channel)->plain();
  }
  return new CallbackClientCall(channel, method, context, reactor, {}, request, response);
}

void CallbackUnaryCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                       const OutgoingMessage& request, const IncomingMessage& response, std::function<void(Status)> on_done) {
  if (InterceptedChannel::Of(channel) != nullptr) [[unlikely]] {
    ClientCallbackCall* const call = MakeIntercepted(channel, method, context, nullptr, on_done, &request, &response);
    if (call != nullptr) return call->Start();
    channel = InterceptedChannel::Of(channel)->plain();
  }
  (new CallbackClientCall(channel, method, context, nullptr, std::move(on_done), &request, &response))->Start();
}

CallbackClientCall::CallbackClientCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                       ClientReactor* reactor, std::function<void(Status)> on_done,
                                       const OutgoingMessage* request, const IncomingMessage* response)
    : ClientCallCore(Real(channel), Real(channel)->shared_from_this(), method, context),
      Reactions(Real(channel)->runtime_for_reactions(), method.times()),
      reactor_(reactor),
      on_done_(std::move(on_done)),
      has_request_(request != nullptr),
      has_response_(response != nullptr),
      response_(response != nullptr ? *response : IncomingMessage{}),
      outstanding_(reactor != nullptr ? 2 : 1) {  // the end, and the initial metadata
  if (request != nullptr) request_ = *request;
}

// ---- the begin -------------------------------------------------------------------------------

void CallbackClientCall::Start() {
  outstanding_.fetch_add(1, std::memory_order_relaxed);  // the call may be over before this returns
  if (Status wrong = Prepare(has_request_ ? &request_ : nullptr); !wrong.ok()) {
    EndBeforeBegin(std::move(wrong));
  } else {
    TryBegin();
  }
  Release(1);
}

void CallbackClientCall::TryBegin() {
  for (;;) {
    if (Status why = WhyNotBegin(); !why.ok()) return EndBeforeBegin(std::move(why));
    std::shared_ptr<rpc::ClientConnection> connection = channel_->Current();
    if (connection == nullptr) {
      CopyRequest();
      if (!Attach()) return EndBeforeBegin(Cancelled());
      {
        std::lock_guard lock(context_mu());
        if (begun_) return;
        applied_ = true;
      }
      outstanding_.fetch_add(1, std::memory_order_relaxed);
      connection = channel_->GetOrApply(this, wait_for_ready(), deadline_ns());
      std::lock_guard lock(context_mu());
      if (connection == nullptr) {
        // Cancelled just before it was in the list.
        if (begun_ && applied_ && channel_->Withdraw(this)) outstanding_.fetch_sub(1, std::memory_order_relaxed);
        return;
      }
      outstanding_.fetch_sub(1, std::memory_order_relaxed);
      applied_ = false;
      if (begun_) return;
    }
    if (BeginNow(std::move(connection))) return;
    std::this_thread::yield();  // lost just now; the channel is about to notice
  }
}

// The caller's request may be gone by the time that there is a connection.
void CallbackClientCall::CopyRequest() {
  if (!has_request_ || request_.message == &request_copy_) return;
  const size_t bytes = request_.size(request_.message);
  if (bytes != 0) request_.write(request_.message, request_copy_.Extend(bytes), bytes);
  request_ = {.message = &request_copy_,
              .size = [](const void* copy) { return static_cast<const rpc::Buffer*>(copy)->size(); },
              .write = [](const void* copy, std::byte* out, size_t size) {
                std::memcpy(out, static_cast<const rpc::Buffer*>(copy)->data(), size);
              }};
}

void CallbackClientCall::OnConnection(absl::StatusOr<std::shared_ptr<rpc::ClientConnection>> connection) {
  bool ended;
  {
    std::lock_guard lock(context_mu());
    applied_ = false;
    ended = begun_;
  }
  if (!ended && !connection.ok()) {
    EndBeforeBegin(rpc::FromAbsl(connection.status()));
  } else if (!ended && !BeginNow(*std::move(connection))) {
    TryBegin();
  }
  Release(1);
}

bool CallbackClientCall::BeginNow(std::shared_ptr<rpc::ClientConnection> connection) {
  // Without a request they are the first write's, which may be under way elsewhere.
  if (has_request_ && attached()) {
    if (Status wrong = CheckAttached(*connection); !wrong.ok()) {
      EndBeforeBegin(std::move(wrong));
      return true;
    }
  }
  connection->ServeByPoller();
  set_poller(connection->poller());
  begin_unsent_ = corked() && !has_request_;
  const Begun begun = begin_unsent_   ? Open(std::move(connection))
                      : has_request_ ? BeginOn(std::move(connection), &request_, rpc::kHalfCloses)
                                     : BeginOn(std::move(connection), nullptr, 0);
  switch (begun) {
    case Begun::kLost:
      return false;
    case Begun::kCancelled:
      EndBeforeBegin(Cancelled());
      return true;
    case Begun::kYes:
      OnBegun();
      return true;
  }
  return true;
}

void CallbackClientCall::OnBegun() {
  ForgetBegin();
  connection_->WatchDeadline(stream_, deadline_ns());
  if (reactor_ == nullptr) {
    begun_.store(true, std::memory_order_release);
    return stream_->Observe(this);
  }
  std::lock_guard lock(context_mu());
  begun_.store(true, std::memory_order_release);
  if (write_kept_) StartWrite(write_, write_last_);
  if (writes_done_kept_) StartWritesDone();
  if (read_kept_) StartRead(read_);
  stream_->Observe(this);
}

void CallbackClientCall::EndBeforeBegin(Status why) {
  std::lock_guard lock(context_mu());
  EndBeforeBeginLocked(std::move(why));
}

void CallbackClientCall::EndBeforeBeginLocked(Status why) {
  if (begun_.load(std::memory_order_relaxed)) return;
  local_status_ = std::move(why);
  if (applied_ && channel_->Withdraw(this)) outstanding_.fetch_sub(1, std::memory_order_relaxed);
  begun_.store(true, std::memory_order_release);
  uint32_t due = kOver;
  if (reactor_ != nullptr) due |= kInitial;
  if (read_kept_) due |= kRead;
  if (write_kept_) due |= kWrite;
  if (writes_done_kept_) due |= kWritesDone;
  Fire(due);
}

void CallbackClientCall::Cancel() {
  if (stream_ != nullptr) {
    End(Cancelled());
  } else {
    EndBeforeBeginLocked(Cancelled());
  }
}

// ---- operations ------------------------------------------------------------------------------

template <typename Keep>
bool CallbackClientCall::Kept(Keep&& keep) {
  if (begun_.load(std::memory_order_acquire)) return false;
  std::lock_guard lock(context_mu());
  if (begun_.load(std::memory_order_relaxed)) return false;
  keep();
  return true;
}

void CallbackClientCall::Read(const IncomingMessage& message) {
  outstanding_.fetch_add(1, std::memory_order_relaxed);
  const bool kept = Kept([&] {
    read_kept_ = true;
    read_ = message;
  });
  if (!kept) StartRead(message);
}

void CallbackClientCall::StartRead(const IncomingMessage& message) {
  if (stream_ == nullptr) return Fire(kRead);
  read_ = message;
  if (!stream_->MessageReady()) stream_->GrantForReader();
  stream_->Locked([this] {
    read_waits_ = true;
    OnStreamEvent();
  });
}

void CallbackClientCall::Write(const OutgoingMessage& message, WriteOptions options) {
  outstanding_.fetch_add(1, std::memory_order_relaxed);
  const bool kept = Kept([&] {
    write_kept_ = true;
    write_ = message;
    write_last_ = options.is_last_message();
  });
  if (!kept) StartWrite(message, options.is_last_message());
}

void CallbackClientCall::StartWrite(const OutgoingMessage& message, bool last) {
  if (stream_ == nullptr) return NoteWrite(kWrite, Sending::kClosed);
  if (!begin_unsent_) return NoteWrite(kWrite, SendMessage(message, last));
  begin_unsent_ = false;
  Status wrong = CheckMessage(message);
  const Sending sent = wrong.ok() ? SendBegin(&message, last ? uint8_t{rpc::kHalfCloses} : uint8_t{0}) : Sending::kClosed;
  ForgetBegin();
  if (!wrong.ok()) End(std::move(wrong));
  NoteWrite(kWrite, sent);  // the call may be over, and gone
}

void CallbackClientCall::WritesDone() {
  outstanding_.fetch_add(1, std::memory_order_relaxed);
  if (!Kept([&] { writes_done_kept_ = true; })) StartWritesDone();
}

void CallbackClientCall::StartWritesDone() {
  if (stream_ == nullptr) return NoteWrite(kWritesDone, Sending::kClosed);
  NoteWrite(kWritesDone, std::exchange(begin_unsent_, false) ? SendBegin(nullptr, rpc::kHalfCloses)
                                                             : stream_->Send({.type = FrameType::kHalfClose}, nullptr));
}

void CallbackClientCall::NoteWrite(Due which, Sending sent) {
  if (sent == Sending::kQueued) {
    return stream_->Locked([this, which] {
      (which == kWrite ? write_waits_ : writes_done_waits_) = true;
      OnStreamEvent();
    });
  }
  (which == kWrite ? write_ok_ : writes_done_ok_) = sent == Sending::kDone;
  Fire(which);
}

// ---- what happens ----------------------------------------------------------------------------

void CallbackClientCall::OnStreamEvent() {
  uint32_t due = 0;
  const bool over = stream_->over();
  if (!initial_told_ && (over || stream_->initial_seen())) {
    initial_told_ = true;
    NoteInitial();
    if (reactor_ != nullptr) due |= kInitial;
  }
  if (read_waits_ && (stream_->MessageReady() || stream_->NoMoreMessages())) {
    read_waits_ = false;
    due |= kRead;
  }
  if (over || stream_->DrainedLocked()) {
    if (std::exchange(write_waits_, false)) {
      write_ok_ = !over;
      due |= kWrite;
    }
    if (std::exchange(writes_done_waits_, false)) {
      writes_done_ok_ = !over;
      due |= kWritesDone;
    }
  }
  if (over && !std::exchange(over_told_, true)) due |= kOver;
  if (due != 0) Fire(due);
}

// A call that ended with nothing but a status had no initial metadata.
bool CallbackClientCall::InitialOk() {
  if (stream_ == nullptr || !stream_->initial_seen()) return false;
  return !stream_->initial_alone() || !context().GetServerInitialMetadata().empty();
}

bool CallbackClientCall::React(uint32_t due) {
  int ran = 0;
  if ((due & kInitial) != 0) {
    reactor_->OnReadInitialMetadataDone(InitialOk());
    ++ran;
  }
  if ((due & kWrite) != 0) {
    reactor_->OnWriteDone(write_ok_);
    ++ran;
  }
  if ((due & kWritesDone) != 0) {
    reactor_->OnWritesDoneDone(writes_done_ok_);
    ++ran;
  }
  if ((due & kRead) != 0) {
    reactor_->OnReadDone(stream_ != nullptr && TakeMessage(read_));
    ++ran;
  }
  if ((due & kOver) != 0) ++ran;
  // None, when it was the removal of the last hold.
  if (ran != 0 && outstanding_.fetch_sub(ran, std::memory_order_acq_rel) != ran) return false;
  Finish();
  return true;
}

void CallbackClientCall::Release(int count) {
  if (outstanding_.fetch_sub(count, std::memory_order_acq_rel) == count) Fire(kDone);
}

void CallbackClientCall::Finish() {
  if (stream_ != nullptr) stream_->Observe(nullptr);
  LeaveContext();
  Status status = Conclude(has_response_ ? &response_ : nullptr);
  // The user may drop all of it from now on.
  stream_ = nullptr;
  connection_ = nullptr;
  keep_ = nullptr;
  if (reactor_ != nullptr) {
    reactor_->OnDone(status);
  } else {
    std::exchange(on_done_, {})(std::move(status));
  }
}

}  // namespace ipcrpc::internal
