#include "rpc/interception/sync_client_call.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <utility>

#include "rpc/interception/client_interception.h"

namespace ipcrpc::internal {
namespace {

// Each operation is a batch, that of a plain call when all have let it pass. A hijacked call has none.
class InterceptedClientCall final : public ClientCall {
 public:
  InterceptedClientCall(ClientInterception& interception, const RpcMethod& method, const OutgoingMessage* request)
      : interception_(interception),
        channel_(interception.channel().origin()),
        method_(method),
        has_request_(request != nullptr),
        begin_(interception) {
    if (interception.corked() && !has_request_) return;  // the first operation begins the call
    if (has_request_) {
      begin_.Sends(*request);
      begin_.SendsClose();
    }
    Pass(begin_);
    // A unary call may be made again until it is over, and needs its request for that.
    if (!unary()) begin_.Up();
  }

  bool Write(const OutgoingMessage& message, WriteOptions options) override {
    Batch write(interception_);
    write.Sends(message);
    if (options.is_last_message()) write.SendsClose();
    Pass(write);
    if (!hijacked()) write.NoteSent(plain_->Write(write.outgoing(), options));
    write.Up();
    return write.sent();
  }

  bool WritesDone() override {
    Batch close(interception_);
    close.SendsClose();
    Pass(close);
    return hijacked() || plain_->WritesDone();
  }

  bool Read(const IncomingMessage& message) override {
    Batch read(interception_);
    read.Receives(message.message);
    ShowInitial(read);
    Pass(read);
    if (!hijacked()) read.NoteReceived(plain_->Read(message));
    read.Up();
    return read.received();
  }

  // Not an operation of its own. Of a hijacked call nothing is known but that a message is no larger than the channel allows.
  bool NextMessageSize(uint32_t* size) override {
    Batch none(interception_);
    Pass(none);
    if (!hijacked()) return plain_->NextMessageSize(size);
    *size = static_cast<uint32_t>(std::min<int64_t>(channel_->plain()->max_receive_bytes(), std::numeric_limits<uint32_t>::max()));
    return true;
  }

  void WaitForInitialMetadata() override {
    Batch wait(interception_);
    ShowInitial(wait);
    Pass(wait);
    if (!hijacked()) plain_->WaitForInitialMetadata();
    wait.Up();
  }

  Status Finish(const IncomingMessage* response) override {
    Batch finish(interception_);
    ShowInitial(finish);
    if (response != nullptr) finish.Receives(response->message);
    finish.ReceivesStatus();
    Pass(finish);
    if (!hijacked()) {
      finish.status() = plain_->Finish(response);
      finish.NoteReceived(finish.status().ok());
    } else if (response != nullptr && !finish.received() && finish.status().ok()) {
      finish.status() = Status(StatusCode::INTERNAL, "the hijacker of the call has no response");
    }
    if (unary()) begin_.Up();
    finish.Up();
    interception_.Leave();
    return finish.status();
  }

 private:
  bool hijacked() const { return plain_ == nullptr; }
  bool unary() const { return method_.method_type() == RpcMethod::NORMAL_RPC; }

  // Down with the operation, with which the call begins if it has not yet. A corked one may be begun by its reader or its writer.
  void Pass(Batch& operation) {
    if (begun_.load(std::memory_order_acquire)) return operation.Down();
    std::unique_lock lock(begin_mu_);
    if (begun_.load(std::memory_order_relaxed)) {
      lock.unlock();
      return operation.Down();
    }
    operation.SendsInitial();
    operation.Down();
    if (!interception_.hijacked()) {
      const OutgoingMessage request = begin_.outgoing();
      plain_ = ClientCall::Start(channel_->plain(), method_, &interception_.context(), has_request_ ? &request : nullptr);
    }
    begun_.store(true, std::memory_order_release);
  }

  // By the reader.
  void ShowInitial(Batch& operation) {
    if (!std::exchange(initial_shown_, true)) operation.ReceivesInitial();
  }

  ClientInterception& interception_;
  const std::shared_ptr<InterceptedChannel> channel_;
  const RpcMethod method_;
  const bool has_request_;
  Batch begin_;
  std::mutex begin_mu_;
  std::atomic<bool> begun_{false};
  std::unique_ptr<ClientCall> plain_;  // null once begun: hijacked
  bool initial_shown_ = false;
};

}  // namespace

std::unique_ptr<ClientCall> StartIntercepted(InterceptedChannel& channel, const RpcMethod& method, ClientContext* context,
                                             const OutgoingMessage* request) {
  ClientInterception* const interception = ClientInterception::Begin(channel, method, *context);
  if (interception == nullptr) return ClientCall::Start(channel.plain(), method, context, request);
  return std::make_unique<InterceptedClientCall>(*interception, method, request);
}

Status InterceptedUnaryCall(InterceptedChannel& channel, const RpcMethod& method, ClientContext* context,
                            const OutgoingMessage& request, const IncomingMessage& response) {
  return StartIntercepted(channel, method, context, &request)->Finish(&response);
}

}  // namespace ipcrpc::internal
