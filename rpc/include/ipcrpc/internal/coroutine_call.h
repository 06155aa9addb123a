// What the coroutine API stands on: calls of the callback API whose reactions resume coroutines. Not for users.
#pragma once

#include <coroutine>
#include <memory>
#include <utility>

#include "ipcrpc/export.h"
#include "ipcrpc/internal/callback_call.h"
#include "ipcrpc/internal/method_handler.h"
#include "ipcrpc/status.h"
#include "ipcrpc/task.h"
#include "ipcrpc/write_options.h"

namespace ipcrpc::internal {

// A suspended coroutine, and where it goes on. To be resumed once, with no lock held: it may end all that led to it.
class Waiter {
 public:
  Waiter() = default;
  template <class Promise>
  explicit Waiter(std::coroutine_handle<Promise> coroutine) : coroutine_(coroutine), executor_(ExecutorOf(coroutine)) {}
  explicit operator bool() const { return coroutine_ != nullptr; }
  void Resume() const { executor_ != nullptr ? executor_->Schedule(coroutine_) : coroutine_.resume(); }

 private:
  std::coroutine_handle<> coroutine_;
  Executor* executor_ = nullptr;
};

// The client's side of one call. Its owner may let go of it at any time: then the call is cancelled, and neither the
// user's context nor messages nor coroutines are touched any more; what is left goes by itself. Therefore the call has a
// context of its own, which the user's is linked to.
class IPCRPC_EXPORT ClientCoroutineCall {
 public:
  struct LetGo {
    void operator()(ClientCoroutineCall* call) const { call->Abandon(); }
  };
  using Owner = std::unique_ptr<ClientCoroutineCall, LetGo>;

  // A unary call, which begins with Finish(). `request` must live until that has returned, `response` until the end.
  static Owner MakeUnary(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                         const OutgoingMessage& request, const IncomingMessage& response);
  // A streaming call, which has begun. `request` need not outlive this.
  static Owner BeginStream(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                           const OutgoingMessage* request, const IncomingMessage* response);

  // Operations: the waiter may be resumed before they return, so nothing of the coroutine may be touched after. At most one
  // each outstanding; Write() and WritesDone() are one.
  virtual void ReadInitialMetadata(Waiter waiter) = 0;
  virtual void Read(const IncomingMessage& message, Waiter waiter) = 0;
  virtual void Write(const OutgoingMessage& message, WriteOptions options, Waiter waiter) = 0;
  virtual void WritesDone(Waiter waiter) = 0;
  virtual void Finish(Waiter waiter) = 0;
  // Their results, by who was resumed.
  virtual bool initial_ok() = 0;
  virtual bool read_ok() = 0;
  virtual bool write_ok() = 0;
  virtual Status TakeStatus() = 0;

 protected:
  ~ClientCoroutineCall() = default;

 private:
  virtual void Abandon() = 0;
};

// Awaited in a coroutine: `start(call, waiter)` begins, `result(call)` tells. Trivial on purpose: a temporary of a co_await
// expression.
template <class Call, class Start, class Result>
class Awaiting {
 public:
  Awaiting(Call* call, Start start, Result result) : call_(call), start_(start), result_(result) {}
  bool await_ready() noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> coroutine) {
    start_(call_, Waiter(coroutine));
  }
  auto await_resume() { return result_(call_); }

 private:
  Call* const call_;
  Start start_;
  Result result_;
};

// The server's side of one call: a reactor that runs a handler's task, and finishes with its result.
class ServerCoroutineCall final : public ServerReactor {
 public:
  // False: there is no task.
  bool Run(Task<Status> task) {
    if (!task.coroutine()) return false;
    end_.call = this;
    end_.ended = [](Join* join) { static_cast<End*>(join)->call->Finish(); };
    task_ = std::move(task);
    internal::Start(task_, &end_, nullptr);
    return true;
  }

  void SendInitialMetadata(Waiter waiter) {
    initial_.waiter = waiter;
    operations().SendInitialMetadata();
  }
  void Read(const IncomingMessage& message, Waiter waiter) {
    read_.waiter = waiter;
    operations().Read(message);
  }
  void Write(const OutgoingMessage& message, WriteOptions options, Waiter waiter) {
    write_.waiter = waiter;
    operations().Write(message, options);
  }
  bool initial_ok() const { return initial_.ok; }
  bool read_ok() const { return read_.ok; }
  bool write_ok() const { return write_.ok; }

 private:
  struct End : Join {
    ServerCoroutineCall* call = nullptr;
  };
  struct Operation {
    void Complete(bool was_ok) {
      ok = was_ok;
      std::exchange(waiter, {}).Resume();
    }
    Waiter waiter;
    bool ok = false;
  };

  void Finish() {
    Status status = CatchingStatus([this] { return task_.coroutine().promise().Take(); });
    task_ = Task<Status>();  // what the handler holds is let go before the client hears of the end
    operations().Finish(std::move(status));
  }

  void OnDone() override {}  // the memory is the call's
  void OnCancel() override {}  // what the handler waits for fails, and it can ask its context
  void OnSendInitialMetadataDone(bool ok) override { initial_.Complete(ok); }
  void OnReadDone(bool ok) override { read_.Complete(ok); }
  void OnWriteDone(bool ok) override { write_.Complete(ok); }

  Operation initial_, read_, write_;
  Task<Status> task_;
  End end_;
};

}  // namespace ipcrpc::internal
