// An intercepted server's call whose handler returns a reactor.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "ipcrpc/internal/callback_call.h"
#include "rpc/callback_server_call.h"
#include "rpc/interception/lane.h"
#include "rpc/interception/server_interception.h"
#include "rpc/reactions.h"

namespace ipcrpc::internal {

// Stands between the handler and a plain call, whose reactor it is. Each operation is a batch: down before the plain call
// has it, up before the reaction of the handler's reactor. What goes down does so in the order in which it was started.
// Keeps the plain call until its own last reaction, and goes with it.
class InterceptedCallbackServerCall final : public ServerCallbackCall, private ServerReactor, private rpc::Reactions {
 public:
  // Instead of the handler's RunCallback(). Within the plain call's.
  static void Run(std::unique_ptr<ServerInterception> interception, CallbackServerCall& plain, rpc::Method& method);

  CallbackServerContext* context() override { return plain_.context(); }
  GenericCallbackServerContext* generic_context() override { return plain_.generic_context(); }
  bool ParseRequest(const IncomingMessage& message) override { return plain_.ParseRequest(message); }
  void* Allocate(size_t bytes) override { return plain_.Allocate(bytes); }
  void ReleaseAtEnd(void* object, void (*release)(void* object)) override { plain_.ReleaseAtEnd(object, release); }
  void Bind(ServerReactor* reactor, const OutgoingMessage* response) override;
  void FailAtOnce(const Status& status) override;

  void SendInitialMetadata() override;
  void Read(const IncomingMessage& message) override;
  void Write(const OutgoingMessage& message, WriteOptions options) override;
  void WriteAndFinish(const OutgoingMessage& message, WriteOptions options, Status status) override;
  void Finish(Status status) override;

 private:
  enum Due : uint32_t { kInitial = 1, kRead = 2, kWrite = 4, kCancel = 8, kLast = 16 };

  InterceptedCallbackServerCall(std::unique_ptr<ServerInterception> interception, CallbackServerCall& plain, rpc::Method& method);
  ~InterceptedCallbackServerCall() = default;
  void ShowRequest(void* request, std::function<void()> next) override;

  // The plain call's.
  void OnSendInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  bool React(uint32_t due) override;
  void Destroy() override { plain_.Release(); }

  void BindTo(ServerReactor* reactor);
  void TellCancel();
  // Of the writes, the last one. By a step of down_.
  void ShowInitial(Batch& operation);
  void FinishWith(const Status& status, const OutgoingMessage* message, bool of_stream);
  void PassFinish(bool of_stream);
  void Hold(int count) { outstanding_.fetch_add(count, std::memory_order_relaxed); }
  void Release(int count);
  // False: it is at its end.
  bool HoldIfLive();
  void End();

  const std::unique_ptr<ServerInterception> interception_;
  CallbackServerCall& plain_;
  MethodHandler& handler_;
  ServerReactor* reactor_ = nullptr;  // null once bound: the call has failed at once
  bool has_response_ = false;
  OutgoingMessage response_ = {};

  // The handler, Finish(), each operation until its reaction has run, and until it has been passed on.
  std::atomic<int> outstanding_{2};
  std::atomic<bool> finish_started_{false}, close_shown_{false};

  std::mutex mu_;  // of these two
  bool bound_ = false;
  bool cancel_kept_ = false;  // until there is a reactor

  Lane down_;
  Batch received_, initial_, read_, write_, finish_, close_;
  bool initial_shown_ = false;
  bool initial_ok_ = false;  // for the reaction
};

}  // namespace ipcrpc::internal
