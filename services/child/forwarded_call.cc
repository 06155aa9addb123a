#include "services/child/forwarded_call.h"

#include <string>
#include <utility>

#include "ipcrpc/client_context.h"
#include "ipcrpc/internal/callback_call.h"

namespace ipcrpc {

using internal::RpcMethod;

// Has two holds on its call: who reads and who writes may go on at any time, until each is released.
class ForwardedCall::Onward final : public internal::ClientReactor {
 public:
  Onward(ForwardedCall& whole, Hand* hand) : whole_(whole), hand_(hand), context_(ClientContext::FromCallbackServerContext(*whole.context_)) {
    for (const auto& [key, value] : whole.context_->client_metadata()) context_->AddMetadata(std::string(key), std::string(value));
    if (!whole.context_->host().empty()) context_->set_authority(whole.context_->host());
  }
  ~Onward() override { Crew::Return(hand_, handed_on()); }

  // `request`: the only one.
  void Start(const ByteBuffer* request) {
    const internal::OutgoingMessage outgoing = request == nullptr ? internal::OutgoingMessage{} : internal::Outgoing(*request);
    call_ = internal::ClientCallbackCall::Make(hand_->child->channel().get(), RpcMethod::AtRunTime(whole_.context_->method(), whole_.type_),
                                               context_.get(), this, request == nullptr ? nullptr : &outgoing, nullptr);
    call_->AddHold(2);
    if (request != nullptr) ReleaseWriter();
    Read();
    call_->Start();
  }

  void Attach(const std::vector<UniqueFd>& fds) {
    for (const UniqueFd& fd : fds) context_->AttachFd(UniqueFd::DuplicateOf(fd.get()));
  }
  void Write(const ByteBuffer* request) {
    if (writes_) call_->Write(internal::Outgoing(*request), WriteOptions());
  }
  void WritesDone() {
    if (writes_) call_->WritesDone();
    ReleaseWriter();
  }
  void Read() { call_->Read(internal::Incoming(&whole_.response_)); }
  void ReleaseWriter() {
    if (std::exchange(writes_, false)) call_->RemoveHold();
  }
  void ReleaseReader() {
    if (std::exchange(reads_, false)) call_->RemoveHold();
  }

  Hand* hand() const { return hand_; }
  ClientContext& context() { return *context_; }
  // Whether there was a connection to the worker. It tells who it is there.
  bool handed_on() const { return context_->peer_credentials().vouched; }

 private:
  void OnReadInitialMetadataDone(bool ok) override { whole_.OnInitialMetadata(ok); }
  void OnWriteDone(bool ok) override { whole_.OnRequestWritten(ok); }
  void OnReadDone(bool ok) override { whole_.OnResponse(ok); }
  void OnDone(const Status& status) override { whole_.OnEnd(status); }  // which is the end of this

  ForwardedCall& whole_;
  Hand* const hand_;
  const std::unique_ptr<ClientContext> context_;
  internal::ClientCallbackCall* call_ = nullptr;
  // Guarded by the whole's mutex.
  bool writes_ = true, reads_ = true;
};

ForwardedCall::ForwardedCall(Crew& crew, GenericCallbackServerContext* context, RpcMethod::RpcType type)
    : crew_(crew), context_(context), type_(type), tries_left_(crew.hands().size()) {
  const std::lock_guard lock(mu_);
  StartRead(&request_);
  if (!one_request()) Begin(nullptr);  // the worker may have something to say first
}

ForwardedCall::~ForwardedCall() = default;

void ForwardedCall::Begin(const Hand* except) {
  --tries_left_;
  onward_ = std::make_unique<Onward>(*this, crew_.Take(except));
  if (one_request()) onward_->Attach(request_fds_);
  onward_->Start(one_request() ? &request_ : nullptr);
  if (!one_request()) return PassRequest();
  // The client may wait for them to be closed.
  if (onward_->handed_on()) request_fds_.clear();
}

void ForwardedCall::PassRequest() {
  if (requests_ == Requests::kEnded) return onward_->WritesDone();
  if (requests_ == Requests::kReading) return;
  onward_->Attach(request_fds_);
  onward_->Write(&request_);
}

void ForwardedCall::OnReadDone(bool ok) {
  bool no_request = false;
  {
    const std::lock_guard lock(mu_);
    requests_ = ok ? Requests::kPassing : Requests::kEnded;
    request_fds_ = context_->TakeFds();
    if (!one_request()) {
      PassRequest();
    } else if (ok) {
      Begin(nullptr);
    } else {
      no_request = true;
    }
  }
  if (no_request) Finish(Status(StatusCode::INTERNAL, "the call has no request"));
}

void ForwardedCall::OnRequestWritten(bool ok) {
  const std::lock_guard lock(mu_);
  if (!ok) return onward_->ReleaseWriter();  // the end tells why
  request_fds_.clear();
  requests_ = Requests::kReading;
  StartRead(&request_);
}

void ForwardedCall::OnInitialMetadata(bool ok) {
  if (ok && one_request()) {
    const std::lock_guard lock(mu_);
    request_fds_.clear();
  }
  if (!ok) return;
  for (const auto& [key, value] : onward_->context().GetServerInitialMetadata()) {
    context_->AddInitialMetadata(std::string(key), std::string(value));
  }
  // A unary call's go with its response.
  if (type_ != RpcMethod::NORMAL_RPC) StartSendInitialMetadata();
}

void ForwardedCall::OnResponse(bool ok) {
  if (ok) {
    for (UniqueFd& fd : onward_->context().TakeFds()) context_->AttachFd(std::move(fd));
    if (!one_response()) return StartWrite(&response_);
    has_response_ = true;
  }
  // The worker has said all but the status.
  const std::lock_guard lock(mu_);
  onward_->ReleaseReader();
  onward_->ReleaseWriter();
}

void ForwardedCall::OnWriteDone(bool ok) {
  const std::lock_guard lock(mu_);
  if (ok) return onward_->Read();
  // The call in front is over, and the onward one is cancelled with it.
  onward_->ReleaseReader();
  onward_->ReleaseWriter();
}

void ForwardedCall::OnEnd(Status status) {
  {
    const std::lock_guard lock(mu_);
    if (status.error_code() == StatusCode::UNAVAILABLE && !onward_->handed_on() && tries_left_ > 0 && !context_->IsCancelled()) {
      return Begin(onward_->hand());
    }
  }
  for (const auto& [key, value] : onward_->context().GetServerTrailingMetadata()) {
    context_->AddTrailingMetadata(std::string(key), std::string(value));
  }
  // The call in front may be over, and this gone, before these return.
  if (status.ok() && has_response_) return StartWriteAndFinish(&response_, WriteOptions(), std::move(status));
  Finish(std::move(status));
}

}  // namespace ipcrpc
