#include "rpc/interception/callback_server_call.h"

#include <utility>

namespace ipcrpc::internal {

InterceptedCallbackServerCall::InterceptedCallbackServerCall(std::unique_ptr<ServerInterception> interception, CallbackServerCall& plain,
                                                             rpc::Method& method)
    : ServerCallbackCall(/*intercepted=*/true),
      Reactions(plain.runtime(), method.times),
      interception_(std::move(interception)),
      plain_(plain),
      handler_(*method.handler),
      received_(*interception_),
      initial_(*interception_),
      read_(*interception_),
      write_(*interception_),
      finish_(*interception_),
      close_(*interception_) {
  set_poller(plain.poller());
}

// ---- the handler -----------------------------------------------------------------------------

void InterceptedCallbackServerCall::Run(std::unique_ptr<ServerInterception> interception, CallbackServerCall& plain, rpc::Method& method) {
  auto* const call = new InterceptedCallbackServerCall(std::move(interception), plain, method);
  plain.Hold();
  plain.Bind(call, nullptr);
  call->received_.ReceivesInitial();
  call->received_.Up([call] { call->handler_.RunCallback(*call); });
}

void InterceptedCallbackServerCall::ShowRequest(void* request, std::function<void()> next) {
  received_.Clear();
  received_.Receives(request);
  received_.Up(std::move(next));
}

void InterceptedCallbackServerCall::Bind(ServerReactor* reactor, const OutgoingMessage* response) {
  has_response_ = response != nullptr;
  if (has_response_) response_ = *response;
  BindTo(reactor);
  reactor->operations().Bind(this);
  Release(1);
}

void InterceptedCallbackServerCall::FailAtOnce(const Status& status) {
  BindTo(nullptr);
  Finish(status);
  Release(1);
}

void InterceptedCallbackServerCall::BindTo(ServerReactor* reactor) {
  std::lock_guard lock(mu_);
  reactor_ = reactor;
  bound_ = true;
  if (cancel_kept_) Fire(kCancel);
}

// ---- operations ------------------------------------------------------------------------------

void InterceptedCallbackServerCall::ShowInitial(Batch& operation) {
  if (!std::exchange(initial_shown_, true)) operation.SendsInitial();
}

void InterceptedCallbackServerCall::SendInitialMetadata() {
  Hold(2);
  down_.Add([this] {
    ShowInitial(initial_);
    initial_.Down([this] {
      plain_.SendInitialMetadata();
      down_.Next();
      Release(1);
    });
  });
}

void InterceptedCallbackServerCall::Read(const IncomingMessage& message) {
  Hold(1);
  read_.Clear();
  read_.Receives(message.message);
  plain_.Read(message);
}

void InterceptedCallbackServerCall::Write(const OutgoingMessage& message, WriteOptions options) {
  Hold(2);
  down_.Add([this, message, options] {
    write_.Clear();
    write_.Sends(message);
    ShowInitial(write_);
    write_.Down([this, options] {
      plain_.Write(write_.outgoing(), options);
      down_.Next();
      Release(1);
    });
  });
}

void InterceptedCallbackServerCall::WriteAndFinish(const OutgoingMessage& message, WriteOptions, Status status) {
  FinishWith(status, &message, /*of_stream=*/true);
}

void InterceptedCallbackServerCall::Finish(Status status) {
  FinishWith(status, has_response_ && status.ok() ? &response_ : nullptr, /*of_stream=*/false);
}

void InterceptedCallbackServerCall::FinishWith(const Status& status, const OutgoingMessage* message, bool of_stream) {
  if (finish_started_.exchange(true)) return;
  if (message != nullptr) finish_.Sends(*message);
  finish_.SendsStatus(status);
  down_.Add([this, of_stream] {
    ShowInitial(finish_);
    finish_.Down([this, of_stream] { PassFinish(of_stream); });
  });
}

// The response of a call that has just one goes with OK only; what was written to a stream goes also with another status.
void InterceptedCallbackServerCall::PassFinish(bool of_stream) {
  const bool with_message = finish_.sends_message() && (of_stream || finish_.status().ok());
  if (with_message) {
    plain_.WriteAndFinish(finish_.outgoing(), WriteOptions(), finish_.status());
  } else {
    plain_.Finish(finish_.status());
  }
  finish_.NoteSent(with_message);
  finish_.Up([this] { Release(1); });
}

// ---- what happens ----------------------------------------------------------------------------

void InterceptedCallbackServerCall::OnSendInitialMetadataDone(bool ok) {
  initial_ok_ = ok;
  Fire(kInitial);
}

void InterceptedCallbackServerCall::OnReadDone(bool ok) {
  read_.NoteReceived(ok);
  read_.Up([this] { Fire(kRead); });
}

void InterceptedCallbackServerCall::OnWriteDone(bool ok) {
  write_.NoteSent(ok);
  write_.Up([this] { Fire(kWrite); });
}

void InterceptedCallbackServerCall::OnCancel() {
  if (!HoldIfLive()) return;
  if (close_shown_.exchange(true)) return TellCancel();
  close_.ReceivesClose();
  close_.Up([this] { TellCancel(); });
}

void InterceptedCallbackServerCall::TellCancel() {
  std::lock_guard lock(mu_);
  if (bound_) {
    Fire(kCancel);
  } else {
    cancel_kept_ = true;
  }
}

bool InterceptedCallbackServerCall::React(uint32_t due) {
  if ((due & kLast) != 0) return true;
  int ran = 0;
  if ((due & kInitial) != 0) {
    reactor_->OnSendInitialMetadataDone(initial_ok_);
    ++ran;
  }
  if ((due & kWrite) != 0) {
    reactor_->OnWriteDone(write_.sent());
    ++ran;
  }
  if ((due & kRead) != 0) {
    reactor_->OnReadDone(read_.received());
    ++ran;
  }
  if ((due & kCancel) != 0) {
    if (reactor_ != nullptr && !finish_started_.load()) reactor_->OnCancel();
    ++ran;
  }
  Release(ran);
  return false;
}

// ---- the end ---------------------------------------------------------------------------------

void InterceptedCallbackServerCall::Release(int count) {
  if (outstanding_.fetch_sub(count, std::memory_order_acq_rel) == count) End();
}

bool InterceptedCallbackServerCall::HoldIfLive() {
  int count = outstanding_.load(std::memory_order_relaxed);
  while (count != 0 && !outstanding_.compare_exchange_weak(count, count + 1, std::memory_order_acq_rel)) {
  }
  return count != 0;
}

void InterceptedCallbackServerCall::End() {
  if (close_shown_.exchange(true)) return Fire(kLast);
  close_.ReceivesClose();
  close_.Up([this] { Fire(kLast); });
}

void InterceptedCallbackServerCall::OnDone() {
  if (reactor_ != nullptr) reactor_->OnDone();
  delete this;
}

}  // namespace ipcrpc::internal
