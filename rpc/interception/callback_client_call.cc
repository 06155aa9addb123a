#include "rpc/interception/callback_client_call.h"

#include <utility>

namespace ipcrpc::internal {

InterceptedCallbackClientCall::InterceptedCallbackClientCall(ClientInterception& interception, const RpcMethod& method,
                                                             ClientReactor* reactor, std::function<void(Status)> on_done,
                                                             const OutgoingMessage* request, const IncomingMessage* response)
    : Reactions(interception.channel().plain()->runtime_for_reactions(), method.times()),
      interception_(interception),
      channel_(interception.channel().origin()),
      method_(method),
      reactor_(reactor),
      on_done_(std::move(on_done)),
      has_request_(request != nullptr),
      has_response_(response != nullptr),
      request_(request != nullptr ? *request : OutgoingMessage{}),
      response_(response != nullptr ? *response : IncomingMessage{}),
      begin_(interception),
      read_(interception),
      write_(interception),
      writes_done_(interception),
      end_(interception) {}

// ---- operations ------------------------------------------------------------------------------

void InterceptedCallbackClientCall::Start() {
  begin_.SendsInitial();
  begin_.ReceivesInitial();
  if (has_request_) {
    begin_.Sends(request_);
    begin_.SendsClose();
  }
  begin_.Down([this] { Begin(); });
}

void InterceptedCallbackClientCall::Begin() {
  if (interception_.hijacked()) {
    OnReadInitialMetadataDone(true);
  } else {
    const OutgoingMessage request = begin_.outgoing();
    plain_ = ClientCallbackCall::Make(channel_->plain(), method_, &interception_.context(), this, has_request_ ? &request : nullptr,
                                      has_response_ ? &response_ : nullptr);
    plain_->AddHold(1);  // it is there as long as there can be operations
    plain_->Start();
  }
  down_.Next();
  reads_.Next();
  Release(1);
}

void InterceptedCallbackClientCall::Read(const IncomingMessage& message) {
  AddHold(2);
  reads_.Add([this, message] {
    BeginRead(message);
    reads_.Next();
    Release(1);
  });
}

void InterceptedCallbackClientCall::BeginRead(const IncomingMessage& message) {
  read_.Clear();
  read_.Receives(message.message);
  if (!hijacked()) return plain_->Read(message);
  read_.Down([this] { OnReadDone(read_.received()); });
}

void InterceptedCallbackClientCall::Write(const OutgoingMessage& message, WriteOptions options) {
  AddHold(2);
  down_.Add([this, message, options] {
    write_.Clear();
    write_.Sends(message);
    if (options.is_last_message()) write_.SendsClose();
    write_.Down([this, options] { PassWrite(options); });
  });
}

void InterceptedCallbackClientCall::PassWrite(WriteOptions options) {
  if (hijacked()) {
    OnWriteDone(write_.sent());
  } else {
    plain_->Write(write_.outgoing(), options);
  }
  down_.Next();
  Release(1);
}

void InterceptedCallbackClientCall::WritesDone() {
  AddHold(2);
  down_.Add([this] {
    writes_done_.SendsClose();
    writes_done_.Down([this] { PassWritesDone(); });
  });
}

void InterceptedCallbackClientCall::PassWritesDone() {
  if (hijacked()) {
    OnWritesDoneDone(true);
  } else {
    plain_->WritesDone();
  }
  down_.Next();
  Release(1);
}

// ---- what happens ----------------------------------------------------------------------------

void InterceptedCallbackClientCall::OnReadInitialMetadataDone(bool ok) {
  initial_ok_ = ok;
  up_.Add([this] {
    begin_.Up([this] {
      if (reactor_ != nullptr) {
        Fire(kInitial);
      } else {
        Release(1);
      }
      up_.Next();
    });
  });
}

void InterceptedCallbackClientCall::OnReadDone(bool ok) {
  read_.NoteReceived(ok);
  up_.Add([this] {
    read_.Up([this] {
      Fire(kRead);
      up_.Next();
    });
  });
}

void InterceptedCallbackClientCall::OnWriteDone(bool ok) {
  write_.NoteSent(ok);
  write_.Up([this] { Fire(kWrite); });
}

void InterceptedCallbackClientCall::OnWritesDoneDone(bool ok) {
  writes_done_ok_ = ok;
  Fire(kWritesDone);
}

bool InterceptedCallbackClientCall::React(uint32_t due) {
  int ran = 0;
  if ((due & kInitial) != 0) {
    reactor_->OnReadInitialMetadataDone(initial_ok_);
    ++ran;
  }
  if ((due & kWrite) != 0) {
    reactor_->OnWriteDone(write_.sent());
    ++ran;
  }
  if ((due & kWritesDone) != 0) {
    reactor_->OnWritesDoneDone(writes_done_ok_);
    ++ran;
  }
  if ((due & kRead) != 0) {
    reactor_->OnReadDone(read_.received());
    ++ran;
  }
  if (ran != 0) Release(ran);
  if ((due & kOver) == 0) return false;
  // The user may drop all of it from now on.
  interception_.Leave();
  channel_ = nullptr;
  Status status = std::move(end_.status());
  if (reactor_ != nullptr) {
    reactor_->OnDone(status);
  } else {
    std::exchange(on_done_, {})(std::move(status));
  }
  return true;
}

// ---- the end ---------------------------------------------------------------------------------

void InterceptedCallbackClientCall::Release(int count) {
  if (outstanding_.fetch_sub(count, std::memory_order_acq_rel) == count) End();
}

// Nothing else can happen any more.
void InterceptedCallbackClientCall::End() {
  if (has_response_) end_.Receives(response_.message);
  end_.ReceivesStatus();
  if (!hijacked()) return plain_->RemoveHold();
  end_.Down([this] {
    if (has_response_ && !end_.received() && end_.status().ok()) {
      end_.status() = Status(StatusCode::INTERNAL, "the hijacker of the call has no response");
    }
    TellEnd();
  });
}

void InterceptedCallbackClientCall::OnDone(const Status& status) {
  end_.status() = status;
  end_.NoteReceived(status.ok());
  TellEnd();
}

void InterceptedCallbackClientCall::TellEnd() {
  up_.Add([this] { end_.Up([this] { Fire(kOver); }); });
}

}  // namespace ipcrpc::internal
