// An intercepted client's call that nobody waits for.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "ipcrpc/internal/callback_call.h"
#include "rpc/interception/client_interception.h"
#include "rpc/interception/lane.h"
#include "rpc/reactions.h"

namespace ipcrpc::internal {

// Stands between the program and a plain call, whose reactor it is. Each operation is a batch: down before the plain call
// has it, up before the program's reaction. A hijacked call has no plain one.
//
// What goes down does so in the order in which the operations were started, and what comes up in that in which the
// reactions are promised, however long an interceptor takes. Deletes itself after the last reaction.
class InterceptedCallbackClientCall final : public ClientCallbackCall, private ClientReactor, private rpc::Reactions {
 public:
  // Either a reactor, or a function for the end of the call.
  InterceptedCallbackClientCall(ClientInterception& interception, const RpcMethod& method, ClientReactor* reactor,
                                std::function<void(Status)> on_done, const OutgoingMessage* request, const IncomingMessage* response);

  void Start() override;
  void Read(const IncomingMessage& message) override;
  void Write(const OutgoingMessage& message, WriteOptions options) override;
  void WritesDone() override;
  void AddHold(int holds) override { outstanding_.fetch_add(holds, std::memory_order_relaxed); }
  void RemoveHold() override { Release(1); }

 private:
  enum Due : uint32_t { kInitial = 1, kRead = 2, kWrite = 4, kWritesDone = 8, kOver = 16 };

  // The plain call's.
  void OnReadInitialMetadataDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnWritesDoneDone(bool ok) override;
  void OnDone(const Status& status) override;

  bool React(uint32_t due) override;
  void Destroy() override { delete this; }

  bool hijacked() const { return plain_ == nullptr; }
  void Begin();
  void BeginRead(const IncomingMessage& message);
  void PassWrite(WriteOptions options);
  void PassWritesDone();
  void End();
  void TellEnd();
  void Release(int count);

  ClientInterception& interception_;
  std::shared_ptr<InterceptedChannel> channel_;
  const RpcMethod method_;
  ClientReactor* const reactor_;
  std::function<void(Status)> on_done_;
  const bool has_request_, has_response_;
  const OutgoingMessage request_;
  const IncomingMessage response_;
  ClientCallbackCall* plain_ = nullptr;  // set by Begin()

  // What the end of the call waits for: its begin, the initial metadata, holds, each operation until its reaction has run, and
  // until it has been passed on.
  std::atomic<int> outstanding_{2};

  Lane down_{/*busy=*/true}, reads_{/*busy=*/true};  // what is sent, and received; both opened by the begin
  Lane up_;                                          // initial metadata, messages, the end
  Batch begin_, read_, write_, writes_done_, end_;
  bool initial_ok_ = true, writes_done_ok_ = true;  // for the reactions
};

}  // namespace ipcrpc::internal
