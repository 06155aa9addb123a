// A client's call that nobody waits for: operations return at once, reactions follow.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "ipcrpc/internal/callback_call.h"
#include "rpc/buffer.h"
#include "rpc/client_call.h"
#include "rpc/reactions.h"
#include "rpc/recycled.h"

namespace ipcrpc::internal {

// Deletes itself after its last reaction. What keeps it until then is a count of what is outstanding: the end of the call, each
// operation until its reaction has run, each hold.
class CallbackClientCall final : public ClientCallbackCall,
                                 private ClientCallCore,
                                 private rpc::Reactions,
                                 private rpc::StreamObserver,
                                 private rpc::Applicant,
                                 public rpc::Recycled<CallbackClientCall> {
 public:
  // Either a reactor, or a function for the end of the call.
  CallbackClientCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context, ClientReactor* reactor,
                     std::function<void(Status)> on_done, const OutgoingMessage* request, const IncomingMessage* response);

  void Start() override;
  void Read(const IncomingMessage& message) override;
  void Write(const OutgoingMessage& message, WriteOptions options) override;
  void WritesDone() override;
  void AddHold(int holds) override { outstanding_.fetch_add(holds, std::memory_order_relaxed); }
  void RemoveHold() override { Release(1); }

 private:
  enum Due : uint32_t { kInitial = 1, kRead = 2, kWrite = 4, kWritesDone = 8, kOver = 16, kDone = 32 };

  // The context's lock is held.
  void Cancel() override;
  void OnStreamEvent() override;
  void OnConnection(absl::StatusOr<std::shared_ptr<rpc::ClientConnection>> connection) override;
  bool React(uint32_t due) override;
  void Destroy() override { delete this; }

  void TryBegin();
  // False: the connection was lost just now.
  bool BeginNow(std::shared_ptr<rpc::ClientConnection> connection);
  void OnBegun();
  void CopyRequest();
  void EndBeforeBegin(Status why);
  void EndBeforeBeginLocked(Status why);
  // True: the operation is kept, `keep` has run; else the call has begun.
  template <typename Keep>
  bool Kept(Keep&& keep);

  void StartRead(const IncomingMessage& message);
  void StartWrite(const OutgoingMessage& message, bool last);
  void NoteWrite(Due which, rpc::Stream::Sending sent);
  void StartWritesDone();
  bool InitialOk();
  void Release(int count);
  void Finish();

  ClientReactor* const reactor_;
  std::function<void(Status)> on_done_;
  const bool has_request_, has_response_;
  const IncomingMessage response_;
  std::atomic<int> outstanding_;

  // Until the call is begun, by whoever holds the context's lock.
  std::atomic<bool> begun_{false};  // or ended before: nothing is kept any more
  bool applied_ = false;  // at the channel
  bool read_kept_ = false, write_kept_ = false, writes_done_kept_ = false;
  OutgoingMessage write_ = {};
  bool write_last_ = false;

  // Of who begins the call, then of the writer.
  OutgoingMessage request_ = {};
  rpc::Buffer request_copy_;
  bool begin_unsent_ = false;  // the first write takes it along

  // By whoever holds the stream's lock.
  bool initial_told_ = false, over_told_ = false;
  bool read_waits_ = false, write_waits_ = false, writes_done_waits_ = false;

  // Handed to the reaction by Fire().
  IncomingMessage read_ = {};
  bool write_ok_ = false, writes_done_ok_ = false;
};

}  // namespace ipcrpc::internal
