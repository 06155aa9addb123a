// Client calls that coroutines wait for.
#include "ipcrpc/internal/coroutine_call.h"

#include <atomic>
#include <cstring>
#include <mutex>
#include <utility>

#include "ipcrpc/client_context.h"
#include "rpc/cancel_target.h"
#include "rpc/recycled.h"

namespace ipcrpc::internal {

class CoroutineCall final : public ClientCoroutineCall,
                            private ClientReactor,
                            private CancelTarget,
                            public rpc::Recycled<CoroutineCall> {
 public:
  CoroutineCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context, const OutgoingMessage* request,
                const IncomingMessage* response)
      : users_context_(context), reads_(response == nullptr) {
    context->Lend(own_context_, this, method);
    IncomingMessage guarded = {};
    if (response != nullptr) {
      response_ = *response;
      guarded = {.message = this, .parse = &ParseResponse};
    }
    call_ = ClientCallbackCall::Make(channel, method, &own_context_, this, request, response != nullptr ? &guarded : nullptr);
  }

  void BeginStream() {
    held_ = true;  // until Finish(): operations are started from anywhere
    call_->AddHold(1);
    call_->Start();
  }

  void ReadInitialMetadata(Waiter waiter) override {
    {
      std::lock_guard lock(mu_);
      if (!initial_known_) {
        initial_waiter_ = waiter;
        return;
      }
    }
    waiter.Resume();
  }

  void Read(const IncomingMessage& message, Waiter waiter) override {
    read_waiter_ = waiter;
    read_ = message;
    Operate([this](ClientCallbackCall* call) { call->Read({.message = this, .parse = &ParseRead}); });
  }

  void Write(const OutgoingMessage& message, WriteOptions options, Waiter waiter) override {
    write_waiter_ = waiter;
    write_ = message;
    users_context_->LendFds(own_context_);
    Operate([this, options](ClientCallbackCall* call) {
      call->Write({.message = this, .size = &SizeOfWrite, .write = &WriteOut}, options);
    });
  }

  void WritesDone(Waiter waiter) override {
    write_waiter_ = waiter;
    Operate([](ClientCallbackCall* call) { call->WritesDone(); });
  }

  void Finish(Waiter waiter) override {
    finish_waiter_ = waiter;
    if (!held_) return call_->Start();
    // Messages that nobody reads any more must not hold up the server.
    held_ = false;
    ClientCallbackCall* const call = call_;
    drains_.store(true, std::memory_order_relaxed);
    if (reads_ && !read_ended_) call->Read({.message = this, .parse = &ParseRead});
    call->RemoveHold();
  }

  bool initial_ok() override {
    Learn();
    return initial_ok_;
  }
  bool read_ok() override {
    Learn();
    if (read_ok_) users_context_->LearnFds(own_context_);
    return read_ok_;
  }
  bool write_ok() override { return write_ok_; }
  Status TakeStatus() override {
    Learn();
    if (!reads_) users_context_->LearnFds(own_context_);
    users_context_->LearnEnd(own_context_);
    users_context_ = nullptr;
    return std::move(status_);
  }

 private:
  ~CoroutineCall() = default;

  // An operation from outside of reactions: the call must not end before it has returned, though the coroutine may go on
  // elsewhere at once, and let go of the call.
  template <typename Operation>
  void Operate(Operation&& operation) {
    ClientCallbackCall* const call = call_;
    call->AddHold(1);
    operation(call);
    call->RemoveHold();
  }

  void Learn() {
    if (std::exchange(learnt_, true)) return;
    users_context_->LearnBegin(own_context_);
  }

  void Abandon() override {
    bool over;
    {
      std::lock_guard lock(mu_);
      abandoned_ = true;
      over = over_;
    }
    if (users_context_ != nullptr) users_context_->Part();
    if (!over) own_context_.TryCancel();
    if (call_ != nullptr && held_) call_->RemoveHold();
    Release();
  }

  void Release() {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // By the user's context.
  void Cancel() override { own_context_.TryCancel(); }

  // ---- messages: the user's, as long as there is somebody who waits for them --------------------

  static CoroutineCall* Self(const void* self) { return static_cast<CoroutineCall*>(const_cast<void*>(self)); }

  static bool ParseRead(void* self, const std::byte* data, size_t size) {
    CoroutineCall& call = *Self(self);
    std::lock_guard lock(call.mu_);
    if (call.abandoned_ || call.drains_) return true;
    return call.read_.parse(call.read_.message, data, size);
  }
  static bool ParseResponse(void* self, const std::byte* data, size_t size) {
    CoroutineCall& call = *Self(self);
    std::lock_guard lock(call.mu_);
    return call.abandoned_ || call.response_.parse(call.response_.message, data, size);
  }
  static size_t SizeOfWrite(const void* self) {
    CoroutineCall& call = *Self(self);
    std::lock_guard lock(call.mu_);
    return call.abandoned_ ? 0 : call.write_.size(call.write_.message);
  }
  static void WriteOut(const void* self, std::byte* out, size_t size) {
    CoroutineCall& call = *Self(self);
    std::lock_guard lock(call.mu_);
    if (call.abandoned_) {
      std::memset(out, 0, size);  // of a call that is being cancelled
    } else {
      call.write_.write(call.write_.message, out, size);
    }
  }

  // ---- reactions ---------------------------------------------------------------------------------

  // The coroutine that waits here, if it is still there. Nothing of this may be touched after its resumption.
  Waiter Due(Waiter& waiter) {
    std::lock_guard lock(mu_);
    return abandoned_ ? Waiter() : std::exchange(waiter, {});
  }
  static void Resume(const Waiter& waiter) {
    if (waiter) waiter.Resume();
  }

  void OnReadInitialMetadataDone(bool ok) override {
    Waiter waiter;
    {
      std::lock_guard lock(mu_);
      initial_ok_ = ok;
      initial_known_ = true;
      if (!abandoned_) waiter = std::exchange(initial_waiter_, {});
    }
    Resume(waiter);
  }
  void OnReadDone(bool ok) override {
    if (drains_.load(std::memory_order_relaxed)) {
      if (ok) call_->Read({.message = this, .parse = &ParseRead});
      return;
    }
    read_ok_ = ok;
    read_ended_ = !ok;
    Resume(Due(read_waiter_));
  }
  void OnWriteDone(bool ok) override {
    write_ok_ = ok;
    Resume(Due(write_waiter_));
  }
  void OnWritesDoneDone(bool ok) override { OnWriteDone(ok); }
  void OnDone(const Status& status) override {
    Waiter waiter;
    {
      std::lock_guard lock(mu_);
      over_ = true;
      status_ = status;
      if (!abandoned_) waiter = std::exchange(finish_waiter_, {});
    }
    Release();
    Resume(waiter);
  }

  ClientContext own_context_;
  ClientContext* users_context_;  // null once it has learnt all; the owner's
  ClientCallbackCall* call_ = nullptr;  // until OnDone()
  const bool reads_;
  IncomingMessage response_ = {};
  std::atomic<int> owners_{2};  // the user's object; the call until OnDone()

  // Of who may start operations.
  bool held_ = false;
  bool learnt_ = false;

  // Set before the operation they are of, told by its reaction.
  Waiter read_waiter_, write_waiter_, finish_waiter_;
  IncomingMessage read_ = {};
  OutgoingMessage write_ = {};
  bool read_ok_ = false, read_ended_ = false, write_ok_ = false;
  std::atomic<bool> drains_{false};
  Status status_;

  std::mutex mu_;  // of what follows, and of the user's messages
  bool abandoned_ = false;
  bool over_ = false;
  bool initial_known_ = false, initial_ok_ = false;
  Waiter initial_waiter_;
};

ClientCoroutineCall::Owner ClientCoroutineCall::MakeUnary(ChannelInterface* channel, const RpcMethod& method,
                                                          ClientContext* context, const OutgoingMessage& request,
                                                          const IncomingMessage& response) {
  return Owner(new CoroutineCall(channel, method, context, &request, &response));
}

ClientCoroutineCall::Owner ClientCoroutineCall::BeginStream(ChannelInterface* channel, const RpcMethod& method,
                                                            ClientContext* context, const OutgoingMessage* request,
                                                            const IncomingMessage* response) {
  auto* const call = new CoroutineCall(channel, method, context, request, response);
  Owner owner(call);
  call->BeginStream();
  return owner;
}

}  // namespace ipcrpc::internal
