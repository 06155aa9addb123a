// A client's call that a thread waits for.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "rpc/client_call.h"
#include "rpc/convert.h"
#include "rpc/interception/sync_client_call.h"
#include "transport/base/clock.h"

namespace ipcrpc::internal {
namespace {

using rpc::ClientChannel;
using rpc::FrameType;

class SyncClientCall final : public ClientCall, private ClientCallCore {
 public:
  SyncClientCall(ClientChannel* channel, std::shared_ptr<ClientChannel> keep, const RpcMethod& method, ClientContext* context,
                 const OutgoingMessage* request, bool at_once)
      : ClientCallCore(channel, std::move(keep), method, context), at_once_(at_once) {
    if (corked() && request == nullptr) return;  // the first operation begins the call
    if (request != nullptr) request = &KeepRequest(*request);
    Begin(request, request != nullptr ? uint8_t{rpc::kHalfCloses} : uint8_t{0});
    begun_.store(true, std::memory_order_release);
  }

  ~SyncClientCall() override {
    if (finished_) return;
    if (stream_ != nullptr) End(Status(StatusCode::CANCELLED, "the call was dropped by the client"));
    LeaveContext();
  }

  bool Write(const OutgoingMessage& message, WriteOptions options) override {
    if (half_closed_) return false;  // it was said that nothing would follow
    if (options.is_last_message()) half_closed_ = true;
    const uint8_t flags = options.is_last_message() ? uint8_t{rpc::kHalfCloses} : uint8_t{0};
    if (EnsureBegun(&message, flags)) return stream_ != nullptr && AwaitDrained();
    if (stream_ == nullptr || OutOfTime()) return false;
    connection_->CatchUp();  // who only writes would learn late of the end of the call
    return AwaitSent(SendMessage(message, options.is_last_message()));
  }

  bool WritesDone() override {
    EnsureBegun();
    if (stream_ == nullptr) return false;
    if (std::exchange(half_closed_, true)) return !stream_->over();
    return AwaitSent(stream_->Send({.type = FrameType::kHalfClose}, nullptr));
  }

  bool Read(const IncomingMessage& message) override {
    EnsureBegun();
    return stream_ != nullptr && AwaitMessage() && TakeMessage(message);
  }

  bool NextMessageSize(uint32_t* size) override {
    EnsureBegun();
    if (stream_ == nullptr || !AwaitMessage()) return false;
    const std::optional<uint32_t> next = stream_->NextSize();
    if (next.has_value()) *size = *next;
    return next.has_value();
  }

  void WaitForInitialMetadata() override {
    EnsureBegun();
    if (stream_ == nullptr) return;
    const auto done = [this] { return stream_->initial_seen() || stream_->over(); };
    do {
      if (!done()) Await(done);
    } while (MakeAgain());
    if (stream_ == nullptr) return;
    NoteInitial();
    if (request_.has_value() && stream_->initial_seen()) ForgetBegin();
  }

  Status Finish(const IncomingMessage* response) override {
    EnsureBegun();
    // A response is left alone until the status is known to be OK. Messages that nobody reads any more must not hold up
    // the server.
    if (stream_ != nullptr && response != nullptr) AwaitMessage();
    while (stream_ != nullptr && (!stream_->over() || MakeAgain())) {
      if (response == nullptr) stream_->GrantForReader();
      Await([this, response] { return stream_->over() || (response == nullptr && stream_->MessageReady()); });
      while (response == nullptr && !stream_->over() && stream_->Take().has_value()) {
      }
    }
    finished_ = true;
    LeaveContext();
    return Conclude(response);
  }

  // Any thread, for as long as the context knows this call. Before it is begun the context's mark is enough, once it is seen.
  void Cancel() override {
    if (stream_ != nullptr) {
      End(Cancelled());
    } else {
      channel_->WakeWaiters();
    }
  }

 private:
  // True: this call of it has begun the call. A corked one may be begun by its reader or its writer.
  bool EnsureBegun(const OutgoingMessage* message = nullptr, uint8_t flags = 0) {
    if (begun_.load(std::memory_order_acquire)) return false;
    std::lock_guard lock(begin_mu_);
    if (begun_.load(std::memory_order_relaxed)) return false;
    Begin(message, flags);
    begun_.store(true, std::memory_order_release);
    return true;
  }

  // Ends with local_status_ where the call cannot be begun.
  void Begin(const OutgoingMessage* message, uint8_t flags) {
    local_status_ = Prepare(message);
    if (local_status_.ok()) BeginPrepared(message, flags);
  }

  void BeginPrepared(const OutgoingMessage* message, uint8_t flags) {
    for (;;) {
      local_status_ = WhyNotBegin();
      if (!local_status_.ok()) return;
      std::shared_ptr<rpc::ClientConnection> connection = channel_->Current();
      if (connection == nullptr) {
        Attach();  // Cancel() ends the wait
        auto made = channel_->Get(wait_for_ready(), deadline_ns(), [this] { return cancelled(); });
        if (!made.ok()) {
          local_status_ = rpc::FromAbsl(made.status());
          return;
        }
        connection = *std::move(made);
      }
      if (attached()) {
        local_status_ = CheckAttached(*connection);
        if (!local_status_.ok()) return;
      }
      connection->CatchUp();
      if (BeginOn(std::move(connection), message, flags, /*lead=*/at_once_) == Begun::kYes) {
        if (!request_.has_value()) ForgetBegin();
        return;
      }
      std::this_thread::yield();  // lost just now; the channel is about to notice
    }
  }

  template <typename Done>
  void Await(Done&& done) {
    if (connection_->WaitUntil(*stream_, done, deadline_ns())) return;
    End(DeadlineExceeded());
  }

  // The deadline ends the call also when nobody was waiting at the time.
  bool OutOfTime() {
    if (deadline_ns() == kNoDeadline || stream_->over() || MonotonicNs() < deadline_ns()) return false;
    End(DeadlineExceeded());
    return true;
  }

  // What went at once was sent, also when its answer has ended the call by now.
  bool AwaitSent(rpc::Stream::Sending sent) {
    if (sent == rpc::Stream::Sending::kQueued) return AwaitDrained();
    connection_->DriveWhileUnsent();
    return sent == rpc::Stream::Sending::kDone;
  }

  // Until what was sent is the link's. True: the call goes on.
  bool AwaitDrained() {
    const auto done = [this] { return stream_->over() || stream_->Drained(); };
    if (!done()) Await(done);
    connection_->DriveWhileUnsent();
    // The server may have ended the call without waiting for this message; or with OK, having had all there was.
    return half_closed_ ? stream_->ok() : !stream_->over();
  }

  bool AwaitMessage() {
    if (OutOfTime()) return false;
    const auto done = [this] { return stream_->MessageReady() || stream_->over(); };
    do {
      if (!done()) {
        stream_->GrantForReader();
        Await(done);
      }
    } while (MakeAgain());
    if (stream_ == nullptr) return false;
    NoteInitial();
    if (request_.has_value() && stream_->initial_seen()) ForgetBegin();
    return stream_->MessageReady();
  }

  // A unary call's is the caller's until the call ends; that of a stream may be gone once it has begun.
  const OutgoingMessage& KeepRequest(const OutgoingMessage& request) {
    request_ = request;
    if (method_.method_type() == RpcMethod::NORMAL_RPC) return *request_;
    request_bytes_.resize(request.size(request.message));
    request.write(request.message, reinterpret_cast<std::byte*>(request_bytes_.data()), request_bytes_.size());
    request_ = OutgoingMessage{.message = &request_bytes_,
                               .size = [](const void* bytes) { return static_cast<const std::string*>(bytes)->size(); },
                               .write = [](const void* bytes, std::byte* out, size_t size) {
                                 std::memcpy(out, static_cast<const std::string*>(bytes)->data(), size);
                               }};
    return *request_;
  }

  // Where the server has not looked at the call, because it was about to go: made again, on another connection, as long as
  // the request is at hand. Then nobody but this thread uses the call, but for Cancel(). False: it stays as it is, or
  // cannot be made again (then there is no stream, and local_status_ says why).
  bool MakeAgain() {
    if (!request_.has_value() || !stream_->over() || !stream_->not_run() || ++made_again_ > kMaxMadeAgain) return false;
    Close();
    BeginPrepared(&*request_, rpc::kHalfCloses);
    return stream_ != nullptr;
  }

  // A server that turns calls away for ever is no server.
  static constexpr int kMaxMadeAgain = 16;

  const bool at_once_;
  std::optional<OutgoingMessage> request_;  // that the call began with, whole
  std::string request_bytes_;
  int made_again_ = 0;
  std::mutex begin_mu_;
  std::atomic<bool> begun_{false};
  bool half_closed_ = false;  // the writer's
  bool finished_ = false;
};

}  // namespace

std::unique_ptr<ClientCall> ClientCall::Start(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                              const OutgoingMessage* request, bool at_once) {
  if (InterceptedChannel* const intercepted = InterceptedChannel::Of(channel)) [[unlikely]] {
    return StartIntercepted(*intercepted, method, context, request);
  }
  auto* const client_channel = static_cast<ClientChannel*>(channel);
  return std::make_unique<SyncClientCall>(client_channel, client_channel->shared_from_this(), method, context, request, at_once);
}

Status BlockingUnaryCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                         const OutgoingMessage& request, const IncomingMessage& response) {
  if (InterceptedChannel* const intercepted = InterceptedChannel::Of(channel)) [[unlikely]] {
    return InterceptedUnaryCall(*intercepted, method, context, request, response);
  }
  return SyncClientCall(static_cast<ClientChannel*>(channel), nullptr, method, context, &request, /*at_once=*/true).Finish(&response);
}

}  // namespace ipcrpc::internal
