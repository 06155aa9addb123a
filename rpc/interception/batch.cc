#include "rpc/interception/batch.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "ipcrpc/support/slice.h"

namespace ipcrpc::internal {

void Interceptors::ShowCancel() {
  Batch cancel(*this);
  cancel.phase_ = Batch::Phase::kCancel;
  cancel.Shows(Batch::Hook::PRE_SEND_CANCEL);
  for (const auto& interceptor : all_) interceptor->Intercept(&cancel);
}

// ---- what it is ------------------------------------------------------------------------------

void Batch::Clear() {
  hooks_ = 0;
  bytes_.Clear();
  serialised_ = false;
  sent_ = received_ = true;
  status_ = Status();
}

void Batch::Sends(const OutgoingMessage& message) {
  Shows(Hook::PRE_SEND_MESSAGE);
  Shows(Hook::POST_SEND_MESSAGE);
  message_ = message;
}

void Batch::SendsStatus(const Status& status) {
  Shows(Hook::PRE_SEND_STATUS);
  status_ = status;
}

void Batch::ReceivesInitial() {
  Shows(Hook::PRE_RECV_INITIAL_METADATA);
  Shows(Hook::POST_RECV_INITIAL_METADATA);
}

void Batch::Receives(void* message) {
  Shows(Hook::PRE_RECV_MESSAGE);
  Shows(Hook::POST_RECV_MESSAGE);
  receiver_ = message;
}

void Batch::ReceivesStatus() {
  Shows(Hook::PRE_RECV_STATUS);
  Shows(Hook::POST_RECV_STATUS);
}

uint32_t Batch::HooksOf(Phase phase) {
  switch (phase) {
    case Phase::kDown:
      return Bit(Hook::PRE_SEND_INITIAL_METADATA) | Bit(Hook::PRE_SEND_MESSAGE) | Bit(Hook::PRE_SEND_STATUS) | Bit(Hook::PRE_SEND_CLOSE);
    case Phase::kAsk:
      return Bit(Hook::PRE_RECV_INITIAL_METADATA) | Bit(Hook::PRE_RECV_MESSAGE) | Bit(Hook::PRE_RECV_STATUS);
    case Phase::kUp:
      return Bit(Hook::POST_SEND_MESSAGE) | Bit(Hook::POST_RECV_INITIAL_METADATA) | Bit(Hook::POST_RECV_MESSAGE) |
             Bit(Hook::POST_RECV_STATUS) | Bit(Hook::POST_RECV_CLOSE);
    case Phase::kCancel:
      return Bit(Hook::PRE_SEND_CANCEL);
  }
  return 0;
}

// ---- on its way ------------------------------------------------------------------------------

void Batch::Go(Phase phase, Then then) {
  if (!ToFirst(phase)) return then();
  then_ = std::move(then);
  if (Walk()) Finish();
}

void Batch::GoAndWait(Phase phase) {
  done_ = false;
  if (!ToFirst(phase) || Walk()) return;
  std::unique_lock lock(interceptors_.mu_);
  interceptors_.changed_.wait(lock, [this] { return done_; });
}

// Nothing of the batch is touched after it: it may be in use again, or gone.
void Batch::Finish() {
  if (then_) return std::exchange(then_, {})();
  Interceptors& interceptors = interceptors_;
  std::lock_guard lock(interceptors.mu_);
  done_ = true;
  interceptors.changed_.notify_all();
}

bool Batch::ToFirst(Phase phase) {
  phase_ = phase;
  at_ = phase == Phase::kDown && ShowsAny(phase) ? 0 : interceptors_.last();
  if (ShowsAny(phase)) return true;
  if (phase == Phase::kUp || !interceptors_.hijacked()) return false;
  phase_ = Phase::kAsk;
  return ShowsAny(phase_);
}

bool Batch::ToNext() {
  switch (phase_) {
    case Phase::kDown:
      if (at_ != interceptors_.last()) return ++at_, true;
      phase_ = Phase::kAsk;
      return interceptors_.hijacked() && ShowsAny(phase_);
    case Phase::kUp:
      if (at_ == 0) return false;
      --at_;
      return true;
    case Phase::kAsk:
    case Phase::kCancel:
      break;
  }
  return false;
}

bool Batch::Walk() {
  do {
    turn_.store(Turn::kRunning, std::memory_order_relaxed);
    interceptors_.At(at_).Intercept(this);
    if (turn_.exchange(Turn::kReturned, std::memory_order_acq_rel) == Turn::kRunning) return false;
  } while (ToNext());
  return true;
}

void Batch::Proceed() {
  if (turn_.exchange(Turn::kProceeded, std::memory_order_acq_rel) != Turn::kReturned) return;
  if (!ToNext() || Walk()) Finish();
}

void Batch::Hijack() {
  if (!Showing(Hook::PRE_SEND_INITIAL_METADATA) || interceptors_.hijacked() || !interceptors_.may_hijack()) {
    std::fprintf(stderr, "ipcrpc: Hijack() is for a client's interceptor that is shown PRE_SEND_INITIAL_METADATA, once\n");
    std::abort();
  }
  interceptors_.Hijack(at_);
  Proceed();
}

// ---- the message that is sent ----------------------------------------------------------------

OutgoingMessage Batch::outgoing() const {
  if (!serialised_) return message_;
  return {.message = &bytes_, .size = &MessageCodec<ByteBuffer>::Size, .write = &MessageCodec<ByteBuffer>::Write};
}

void Batch::Serialise() {
  if (std::exchange(serialised_, true)) return;
  auto bytes = std::make_unique<std::string>(message_.size(message_.message), '\0');
  message_.write(message_.message, reinterpret_cast<std::byte*>(bytes->data()), bytes->size());
  std::string& owned = *bytes.release();
  const Slice slice(owned.data(), owned.size(), [](void* string) { delete static_cast<std::string*>(string); }, &owned);
  bytes_ = ByteBuffer(&slice, 1);
}

ByteBuffer* Batch::GetSerializedSendMessage() {
  if (!Showing(Hook::PRE_SEND_MESSAGE)) return nullptr;
  Serialise();
  return &bytes_;
}

const void* Batch::GetSendMessage() { return Showing(Hook::PRE_SEND_MESSAGE) && !serialised_ ? message_.message : nullptr; }

void Batch::ModifySendMessage(const void* message) {
  if (!Showing(Hook::PRE_SEND_MESSAGE)) return;
  message_.message = message;
  bytes_.Clear();
  serialised_ = false;
}

void Batch::FailHijackedSendMessage() {
  if (Showing(Hook::PRE_SEND_MESSAGE)) sent_ = false;
}

// ---- the rest --------------------------------------------------------------------------------

bool Batch::QueryInterceptionHookPoint(experimental::InterceptionHookPoints type) { return Showing(type); }

SentMetadata* Batch::GetSendInitialMetadata() {
  return Showing(Hook::PRE_SEND_INITIAL_METADATA) ? interceptors_.sent_initial() : nullptr;
}

SentMetadata* Batch::GetSendTrailingMetadata() { return Showing(Hook::PRE_SEND_STATUS) ? interceptors_.sent_trailing() : nullptr; }

Status Batch::GetSendStatus() { return Showing(Hook::PRE_SEND_STATUS) ? status_ : Status(); }

void Batch::ModifySendStatus(const Status& status) {
  if (Showing(Hook::PRE_SEND_STATUS)) status_ = status;
}

void* Batch::GetRecvMessage() {
  if (Showing(Hook::PRE_RECV_MESSAGE)) return receiver_;
  return Showing(Hook::POST_RECV_MESSAGE) && received_ ? receiver_ : nullptr;
}

void Batch::FailHijackedRecvMessage() {
  if (Showing(Hook::PRE_RECV_MESSAGE)) received_ = false;
}

ReceivedMetadata* Batch::GetRecvInitialMetadata() {
  const bool shown = Showing(Hook::PRE_RECV_INITIAL_METADATA) || Showing(Hook::POST_RECV_INITIAL_METADATA);
  return shown ? interceptors_.received_initial() : nullptr;
}

Status* Batch::GetRecvStatus() { return Showing(Hook::PRE_RECV_STATUS) || Showing(Hook::POST_RECV_STATUS) ? &status_ : nullptr; }

ReceivedMetadata* Batch::GetRecvTrailingMetadata() { return GetRecvStatus() != nullptr ? interceptors_.received_trailing() : nullptr; }

std::unique_ptr<ChannelInterface> Batch::GetInterceptedChannel() {
  return phase_ == Phase::kCancel ? nullptr : interceptors_.ChannelAfter(at_);
}

}  // namespace ipcrpc::internal
