// One call as the client sees it, and its context.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>

#include "ipcrpc/client_context.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/server_context.h"
#include "rpc/cancel_target.h"
#include "rpc/client_channel.h"
#include "rpc/convert.h"
#include "rpc/metadata.h"
#include "rpc/server_call.h"
#include "transport/base/clock.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace internal {

using rpc::ClientChannel;
using rpc::ClientConnection;
using rpc::EntryKind;
using rpc::FrameType;
using rpc::OutFrame;
using rpc::StreamPtr;

RpcMethod::RpcMethod(const char* name, RpcType type) : name_(name), type_(type) {
  static std::mutex mu;
  static auto* const ids = new std::unordered_map<std::string, uint32_t>;
  std::lock_guard lock(mu);
  id_ = ids->emplace(name, static_cast<uint32_t>(ids->size())).first->second;
}

class ClientCallImpl final : public ClientCall, public CancelTarget {
 public:
  // `keep` may be null where the caller holds the channel for as long as this object lives.
  ClientCallImpl(ClientChannel* channel, std::shared_ptr<ClientChannel> keep, const RpcMethod& method, ClientContext* context,
                 const OutgoingMessage* request)
      : keep_(std::move(keep)), channel_(channel), method_(method), context_(*context) {
    if (std::exchange(context_.used_, true)) {
      std::fprintf(stderr, "ipcrpc: a ClientContext serves one call; it was used for a second one (%s)\n", method.name());
      std::abort();
    }
    if (context_.corked_ && request == nullptr) return;  // the first operation begins the call
    Begin(request, request != nullptr ? uint8_t{rpc::kHalfCloses} : uint8_t{0});
    begun_.store(true, std::memory_order_release);
  }

  ~ClientCallImpl() override {
    if (!finished_) {
      EndHere(Status(StatusCode::CANCELLED, "the call was dropped by the client"));
      Detach();
    }
  }

  bool Write(const OutgoingMessage& message, WriteOptions options) override {
    if (half_closed_) return false;  // it was said that nothing would follow
    const uint8_t flags = options.is_last_message() ? rpc::kHalfCloses : 0;
    if (options.is_last_message()) half_closed_ = true;
    if (EnsureBegun(&message, flags)) return stream_ != nullptr && AwaitDrained();
    if (stream_ == nullptr || OutOfTime() || !CheckSize(message)) return false;
    if (!stream_->Send({.type = FrameType::kMessage, .flags = flags}, &message)) return false;
    return AwaitDrained();
  }

  bool WritesDone() override {
    EnsureBegun();
    if (stream_ == nullptr) return false;
    if (std::exchange(half_closed_, true)) return !stream_->over();
    return stream_->Send({.type = FrameType::kHalfClose}, nullptr) && AwaitDrained();
  }

  bool Read(const IncomingMessage& message) override {
    EnsureBegun();
    if (stream_ == nullptr || !AwaitMessage()) return false;
    const auto bytes = stream_->Take();
    if (!bytes.has_value()) return false;
    if (message.parse(message.message, bytes->data(), bytes->size())) return true;
    unparsable_ = true;  // the server may have ended the call with OK already
    EndHere(Unparsable());
    return false;
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
    if (!done()) Await(done);
    NoteInitial();
  }

  Status Finish(const IncomingMessage* response) override {
    EnsureBegun();
    bool has_response = false, parsed = false;
    if (stream_ != nullptr && response != nullptr && AwaitMessage()) {
      // Left alone until the status is known to be OK.
      Await([this] { return stream_->over(); });
      has_response = true;
      if (stream_->ok()) {
        const auto bytes = stream_->Take();
        parsed = bytes.has_value() && response->parse(response->message, bytes->data(), bytes->size());
      }
    }
    if (stream_ != nullptr) {
      // Messages that nobody reads any more must not hold up the server.
      while (!stream_->over()) {
        stream_->GrantForReader();
        Await([this] { return stream_->over() || stream_->MessageReady(); });
        while (!stream_->over() && stream_->Take().has_value()) {
        }
      }
    }
    Detach();
    if (stream_ == nullptr) return local_status_;
    NoteInitial();
    context_.trailing_block_ = stream_->TakeTrailingBlock();
    Status status = stream_->status();
    // Whatever the server sent shows that it had the begin of the call, and with it the name.
    if (stream_->initial_seen() && status.error_code() != StatusCode::UNIMPLEMENTED) {
      connection_->NoteMethodKnown(method_.id());
    }
    // The server watches the same deadline; what it says of a call that ran out of time is not news.
    if (!status.ok() && context_.deadline_ns_ <= stream_->failed_at_ns()) return DeadlineExceeded();
    if (status.ok() && unparsable_) return Unparsable();
    if (status.ok() && response != nullptr && !parsed) {
      return Status(StatusCode::INTERNAL, has_response ? "the response does not parse" : "the server sent no response");
    }
    return status;
  }

  // Any thread, for as long as the context knows this call.
  void Cancel() override { EndHere(Status(StatusCode::CANCELLED, "the call was cancelled by the client")); }

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
    std::string block;
    if (!channel_->ours()) {
      local_status_ = Status(StatusCode::FAILED_PRECONDITION,
                             "the channel was made before this process was forked; the child has to make its own");
      return;
    }
    if (Status wrong = rpc::AppendMetadata(block, EntryKind::kInitialMetadata, context_.send_metadata_); !wrong.ok()) {
      local_status_ = std::move(wrong);
      return;
    }
    if (!context_.authority_.empty()) rpc::AppendEntry(block, EntryKind::kAuthority, {}, context_.authority_);
    if (block.size() + rpc::EntryBytes({}, method_.name()) > rpc::kMaxBlockBytes) {
      local_status_ = Status(StatusCode::RESOURCE_EXHAUSTED,
                             Cat("metadata, authority and method name are over the limit of ", rpc::kMaxBlockBytes, " bytes"));
      return;
    }
    if (message != nullptr && !CheckSize(*message)) return;
    const auto cancelled = [this] { return context_.cancelled_.load(std::memory_order_relaxed); };
    for (;;) {
      if (cancelled()) {
        local_status_ = Status(StatusCode::CANCELLED, "the call was cancelled by the client");
        return;
      }
      if (context_.deadline_ns_ != kNoDeadline && context_.deadline_ns_ <= MonotonicNs()) {
        local_status_ = DeadlineExceeded();
        return;
      }
      auto connection = channel_->Get(context_.wait_for_ready_, context_.deadline_ns_, cancelled);
      if (!connection.ok()) {
        local_status_ = rpc::FromAbsl(connection.status());
        return;
      }
      connection_ = *std::move(connection);
      connection_->CatchUp();
      stream_ = connection_->NewStream(channel_->max_receive_bytes());
      if (stream_ == nullptr) {
        std::this_thread::yield();  // lost just now; the channel is about to notice
        continue;
      }
      if (!Attach()) continue;  // cancelled meanwhile
      if (SendBegin(block, message, flags)) return;
      // Never published to the server: tried again without a word.
      LeaveContext();
      connection_->Forget(stream_);
      stream_ = nullptr;
    }
  }

  bool SendBegin(const std::string& initial, const OutgoingMessage* message, uint8_t flags) {
    std::string block;
    if (!connection_->MethodKnown(method_.id())) rpc::AppendEntry(block, EntryKind::kMethodName, {}, method_.name());
    OutFrame begin = {.type = FrameType::kBegin, .flags = flags, .number = method_.id()};
    begin.block = block.empty() ? std::string_view(initial) : std::string_view(block += initial);
    if (context_.deadline_ns_ != kNoDeadline) {
      if (connection_->shares_clock()) {
        begin.deadline = static_cast<uint64_t>(context_.deadline_ns_);
      } else {
        begin.flags |= rpc::kRelativeDeadline;
        begin.deadline = static_cast<uint64_t>(std::max<int64_t>(1, context_.deadline_ns_ - MonotonicNs()));
      }
    }
    return stream_->Send(begin, message);
  }

  bool CheckSize(const OutgoingMessage& message) {
    if (channel_->max_send_bytes() == std::numeric_limits<int64_t>::max()) return true;
    const size_t bytes = message.size(message.message);
    if (bytes <= static_cast<uint64_t>(channel_->max_send_bytes())) return true;
    EndHere(Status(StatusCode::RESOURCE_EXHAUSTED, Cat("a message of ", bytes, " bytes is larger than the channel's send limit of ",
                                                       channel_->max_send_bytes())));
    return false;
  }

  // From now on the context can cancel this call. False: it was cancelled before.
  bool Attach() {
    std::lock_guard lock(context_.mu_);
    if (context_.cancelled_) {
      connection_->Forget(stream_);
      stream_ = nullptr;
      return false;
    }
    context_.call_ = this;
    context_.peer_ = connection_->description();
    return true;
  }

  void Detach() {
    finished_ = true;
    LeaveContext();
  }

  void LeaveContext() {
    std::lock_guard lock(context_.mu_);
    context_.call_ = nullptr;
  }

  static Status Unparsable() { return Status(StatusCode::INTERNAL, "a received message does not parse"); }
  static Status DeadlineExceeded() { return Status(StatusCode::DEADLINE_EXCEEDED, "the deadline has passed"); }

  void EndHere(Status why) {
    if (stream_ == nullptr) {
      if (local_status_.ok()) local_status_ = std::move(why);
      return;
    }
    connection_->Cancel(stream_, std::move(why));
  }

  template <typename Done>
  void Await(Done&& done) {
    if (connection_->WaitUntil(*stream_, done, context_.deadline_ns_)) return;
    EndHere(DeadlineExceeded());
  }

  // The deadline ends the call also when nobody was waiting at the time.
  bool OutOfTime() {
    if (context_.deadline_ns_ == kNoDeadline || stream_->over() || MonotonicNs() < context_.deadline_ns_) return false;
    EndHere(DeadlineExceeded());
    return true;
  }

  // Until what was sent is the link's. True: the call goes on.
  bool AwaitDrained() {
    const auto done = [this] { return stream_->over() || stream_->Drained(); };
    if (!done()) {
      Await(done);
    } else {
      connection_->CatchUp();  // who only writes would learn late of the end of the call
    }
    connection_->DriveWhileUnsent();
    // The server may have ended the call without waiting for this message.
    return !stream_->over();
  }

  bool AwaitMessage() {
    if (OutOfTime()) return false;
    const auto done = [this] { return stream_->MessageReady() || stream_->over(); };
    if (!done()) {
      stream_->GrantForReader();
      Await(done);
    }
    NoteInitial();
    return stream_->MessageReady();
  }

  void NoteInitial() {
    if (initial_noted_ || !stream_->initial_seen()) return;
    initial_noted_ = true;
    context_.initial_block_ = stream_->TakeInitialBlock();
  }

  const std::shared_ptr<ClientChannel> keep_;
  ClientChannel* const channel_;
  const RpcMethod method_;
  ClientContext& context_;
  std::shared_ptr<ClientConnection> connection_;
  StreamPtr stream_;  // null: never begun, and local_status_ says why
  Status local_status_;
  std::mutex begin_mu_;
  std::atomic<bool> begun_{false};
  bool half_closed_ = false;  // the writer's
  bool unparsable_ = false;   // the reader's
  bool finished_ = false;
  bool initial_noted_ = false;
};

std::unique_ptr<ClientCall> ClientCall::Start(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                              const OutgoingMessage* request) {
  auto* const client_channel = static_cast<ClientChannel*>(channel);
  return std::make_unique<ClientCallImpl>(client_channel, client_channel->shared_from_this(), method, context, request);
}

Status BlockingUnaryCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                         const OutgoingMessage& request, const IncomingMessage& response) {
  return ClientCallImpl(static_cast<ClientChannel*>(channel), nullptr, method, context, &request).Finish(&response);
}

}  // namespace internal

ClientContext::ClientContext() = default;
// First of all the served call forgets this one.
ClientContext::~ClientContext() { propagation_.reset(); }

void ClientContext::AddMetadata(const std::string& key, const std::string& value) { send_metadata_.emplace(key, value); }

const std::multimap<string_ref, string_ref>& ClientContext::GetServerInitialMetadata() const {
  if (!std::exchange(initial_parsed_, !initial_block_.empty())) {
    initial_metadata_ = rpc::ReadMetadata(initial_block_, rpc::EntryKind::kInitialMetadata);
  }
  return initial_metadata_;
}

const std::multimap<string_ref, string_ref>& ClientContext::GetServerTrailingMetadata() const {
  if (!std::exchange(trailing_parsed_, !trailing_block_.empty())) {
    trailing_metadata_ = rpc::ReadMetadata(trailing_block_, rpc::EntryKind::kTrailingMetadata);
  }
  return trailing_metadata_;
}

void ClientContext::TryCancel() {
  std::lock_guard lock(mu_);
  cancelled_ = true;
  if (call_ != nullptr) call_->Cancel();
}

std::unique_ptr<ClientContext> ClientContext::FromServerContext(const ServerContext& server_context, PropagationOptions options) {
  auto context = std::make_unique<ClientContext>();
  if (options.deadline()) context->deadline_ns_ = server_context.deadline_ns_;
  if (options.cancellation() && server_context.call_ != nullptr) {
    context->propagation_ = server_context.call_->CancelTogether(context.get());
  }
  return context;
}

std::string ClientContext::peer() const {
  std::lock_guard lock(mu_);
  return peer_ == nullptr ? "ipcrpc:not-connected" : *peer_;
}

}  // namespace ipcrpc
