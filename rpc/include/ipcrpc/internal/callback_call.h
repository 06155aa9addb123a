// What the reactors of the callback API stand on: one call, its messages without their types, whose operations
// return at once and whose reactions follow. Not for users.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <utility>

#include "ipcrpc/export.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/status.h"
#include "ipcrpc/write_options.h"

namespace ipcrpc {

class CallbackServerContext;
class GenericCallbackServerContext;

namespace internal {

class CallbackClientCall;
class CallbackServerCall;
class InterceptedCallbackClientCall;
class InterceptedCallbackServerCall;

// What a client's call tells of itself. The kinds of calls differ in what they make public of this.
class ClientReactor {
 public:
  virtual ~ClientReactor() = default;

  // The call is over: the last reaction, exactly once. The reactor may delete itself, and all else that the
  // call was made with.
  virtual void OnDone(const Status& status) = 0;

 private:
  friend class CallbackClientCall;
  friend class InterceptedCallbackClientCall;
  virtual void OnReadInitialMetadataDone(bool /*ok*/) {}
  virtual void OnReadDone(bool /*ok*/) {}
  virtual void OnWriteDone(bool /*ok*/) {}
  virtual void OnWritesDoneDone(bool /*ok*/) {}
};

// The client's side of one call. Operations by any thread; at most one Read() and one Write() outstanding. It lives
// until OnDone().
class IPCRPC_EXPORT ClientCallbackCall {
 public:
  // A call to be started. With `request`, which must live until Start() has returned (where an interceptor takes its time: until
  // the call is over), it is sent with the begin of the call and half-closes it. `response`, if given, is filled before
  // OnDone() when that gets OK.
  static ClientCallbackCall* Make(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                  ClientReactor* reactor, const OutgoingMessage* request, const IncomingMessage* response);

  virtual void Start() = 0;
  // Where the next message goes, until OnReadDone().
  virtual void Read(const IncomingMessage& message) = 0;
  // The message must live until OnWriteDone().
  virtual void Write(const OutgoingMessage& message, WriteOptions options) = 0;
  virtual void WritesDone() = 0;
  virtual void AddHold(int holds) = 0;
  virtual void RemoveHold() = 0;

  // For what gives it types: an object that needs no destruction and lives as long as the call.
  void* front_memory() { return front_; }
  static constexpr size_t kFrontBytes = 2 * sizeof(void*);

 protected:
  ~ClientCallbackCall() = default;

 private:
  alignas(std::max_align_t) std::byte front_[kFrontBytes];
};

// A unary call whose end is told to a function. `request` need not outlive this call.
IPCRPC_EXPORT void CallbackUnaryCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                     const OutgoingMessage& request, const IncomingMessage& response,
                                     std::function<void(Status)> on_done);

class ServerReactor;

// The server's side of one call, from the start of its handler to OnDone(). Operations by any thread; at most one
// Read() and one Write() outstanding.
class IPCRPC_EXPORT ServerCallbackCall {
 public:
  virtual CallbackServerContext* context() = 0;
  // The same object, for a generic service.
  virtual GenericCallbackServerContext* generic_context() = 0;
  // Of a unary or server-streaming call, in RunCallback(), once: its request. False: it does not parse.
  virtual bool ParseRequest(const IncomingMessage& message) = 0;
  // For the messages of the call: as many bytes as asked for, until `release(memory)` is called, after OnDone().
  virtual void* Allocate(size_t bytes) = 0;
  virtual void ReleaseAtEnd(void* object, void (*release)(void* object)) = 0;
  // Goes on with `next` at once, or when those who intercept the call have seen its request, which was parsed.
  template <typename Next>
  void AfterRequest(void* request, Next&& next) {
    if (!intercepted_) [[likely]] return next();
    ShowRequest(request, std::forward<Next>(next));
  }
  // Ends RunCallback(): the reactor's operations reach this call from now on. `response`, if there is just one, goes with an
  // OK status.
  virtual void Bind(ServerReactor* reactor, const OutgoingMessage* response) = 0;
  // Ends RunCallback() where there is no reactor.
  virtual void FailAtOnce(const Status& status) = 0;

  virtual void SendInitialMetadata() = 0;
  virtual void Read(const IncomingMessage& message) = 0;
  virtual void Write(const OutgoingMessage& message, WriteOptions options) = 0;
  virtual void WriteAndFinish(const OutgoingMessage& message, WriteOptions options, Status status) = 0;
  virtual void Finish(Status status) = 0;

 protected:
  explicit ServerCallbackCall(bool intercepted = false) : intercepted_(intercepted) {}
  ~ServerCallbackCall() = default;

 private:
  virtual void ShowRequest(void* /*request*/, std::function<void()> next) { next(); }

  const bool intercepted_;
};

// What a reactor wants of its call: passed on, or kept until the call is bound.
class IPCRPC_EXPORT ServerOperations {
 public:
  void SendInitialMetadata();
  void Read(const IncomingMessage& message);
  void Write(const OutgoingMessage& message, WriteOptions options);
  void WriteAndFinish(const OutgoingMessage& message, WriteOptions options, Status status);
  void Finish(Status status);

  // Once. Passes on what was kept.
  void Bind(ServerCallbackCall* call);

 private:
  // Null: `keep` has kept it.
  template <typename Keep>
  ServerCallbackCall* CallOr(Keep&& keep);

  std::atomic<ServerCallbackCall*> call_{nullptr};
  std::mutex mu_;  // of the rest, until there is a call
  bool initial_wanted_ = false, read_wanted_ = false, write_wanted_ = false;
  bool finish_wanted_ = false, write_and_finish_wanted_ = false;
  IncomingMessage read_ = {};
  OutgoingMessage write_ = {};
  WriteOptions write_options_;
  Status status_;
};

// What a server's call tells of itself. The kinds of calls differ in what they make public of this.
class ServerReactor {
 public:
  virtual ~ServerReactor() = default;

  // The call is over here: the last reaction, exactly once, after Finish(). The reactor may delete itself.
  virtual void OnDone() = 0;
  // The client is gone, has cancelled, or its deadline has passed, before Finish(), which is still to be called. At most once.
  virtual void OnCancel() = 0;

 protected:
  ServerOperations& operations() { return operations_; }

 private:
  friend class CallbackServerCall;
  friend class InterceptedCallbackServerCall;
  virtual void OnSendInitialMetadataDone(bool /*ok*/) {}
  virtual void OnReadDone(bool /*ok*/) {}
  virtual void OnWriteDone(bool /*ok*/) {}

  ServerOperations operations_;
};

}  // namespace internal
}  // namespace ipcrpc
