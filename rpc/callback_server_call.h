// A server's call whose handler returns a reactor: operations return at once, reactions follow.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "ipcrpc/internal/callback_call.h"
#include "rpc/buffer.h"
#include "rpc/reactions.h"
#include "rpc/recycled.h"
#include "rpc/server_call.h"

namespace ipcrpc::internal {

// Deletes itself after its last reaction. What keeps it until then is a count of what is outstanding: the handler, Finish(),
// each operation until its reaction has run, the reaction to a cancellation.
class CallbackServerCall final : public ServerCallbackCall,
                                 private ServerCallCore,
                                 private rpc::Reactions,
                                 private rpc::StreamObserver,
                                 public rpc::Recycled<CallbackServerCall> {
 public:
  CallbackServerCall(std::shared_ptr<rpc::ServerConnection> connection, rpc::StreamPtr stream, rpc::Method* method,
                     int64_t deadline_ns, std::string client_block);

  // Runs the handler soon.
  void Start();

  // For who stands between it and the handler: it stays until that is released, too.
  void Hold() { outstanding_.fetch_add(1, std::memory_order_relaxed); }
  void Release();
  IoRuntime& runtime() const { return connection_->runtime(); }
  Poller* poller() const { return connection_->poller(); }

  CallbackServerContext* context() override { return &context_; }
  GenericCallbackServerContext* generic_context() override { return &context_; }
  bool ParseRequest(const IncomingMessage& message) override { return request_.ParseInto(message); }
  void* Allocate(size_t bytes) override;
  void ReleaseAtEnd(void* object, void (*release)(void* object)) override;
  void Bind(ServerReactor* reactor, const OutgoingMessage* response) override;
  void FailAtOnce(const Status& status) override;

  void SendInitialMetadata() override;
  void Read(const IncomingMessage& message) override;
  void Write(const OutgoingMessage& message, WriteOptions options) override;
  void WriteAndFinish(const OutgoingMessage& message, WriteOptions options, Status status) override;
  void Finish(Status status) override;

 private:
  enum Due : uint32_t { kHandler = 1, kInitial = 2, kRead = 4, kWrite = 8, kCancel = 16, kDone = 32 };

  ~CallbackServerCall();
  void OnStreamEvent() override;
  bool React(uint32_t due) override;
  void Destroy() override { delete this; }

  void RunHandler();
  // False: nobody intercepts this one.
  bool RunIntercepted();
  void NoteWrite(rpc::Stream::Sending sent);
  void FinishWith(const Status& status, const OutgoingMessage* last);

  GenericCallbackServerContext context_;
  rpc::ReceivedMessage request_;
  ServerReactor* reactor_ = nullptr;
  bool observes_ = false;
  bool has_response_ = false;
  OutgoingMessage response_ = {};
  rpc::Buffer held_;  // a last message that waits for the status
  bool holds_ = false;
  std::atomic<int> outstanding_{2};

  // By whoever holds the stream's lock.
  bool finished_ = false;
  bool cancel_told_ = false;
  bool read_waits_ = false, write_waits_ = false;

  // Handed to the reaction by Fire().
  IncomingMessage read_ = {};
  bool write_ok_ = false, initial_ok_ = false;

  // What the handler's messages live in.
  static constexpr size_t kMemoryBytes = 384;
  void* released_object_ = nullptr;
  void (*release_)(void*) = nullptr;
  std::unique_ptr<std::byte[]> more_memory_;
  alignas(std::max_align_t) std::byte memory_[kMemoryBytes];
};

}  // namespace ipcrpc::internal
