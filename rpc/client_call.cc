#include "rpc/client_call.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "rpc/metadata.h"
#include "transport/base/clock.h"
#include "transport/base/scm_rights.h"
#include "transport/base/strings.h"

namespace ipcrpc::internal {

using rpc::EntryKind;
using rpc::FrameType;
using rpc::OutFrame;

void StopForSecondUse(const RpcMethod& method) {
  std::fprintf(stderr, "ipcrpc: a ClientContext serves one call; it was used for a second one (%s)\n", method.name());
  std::abort();
}

ClientCallCore::ClientCallCore(rpc::ClientChannel* channel, std::shared_ptr<rpc::ClientChannel> keep, const RpcMethod& method,
                               ClientContext* context)
    : keep_(std::move(keep)), channel_(channel), method_(method), context_(*context) {
  if (std::exchange(context_.used_, true)) StopForSecondUse(method);
}

// ---- the begin -------------------------------------------------------------------------------

Status ClientCallCore::Prepare(const OutgoingMessage* message) {
  if (!channel_->ours()) {
    return Status(StatusCode::FAILED_PRECONDITION,
                  "the channel was made before this process was forked; the child has to make its own");
  }
  if (!context_.send_metadata_.empty()) {
    if (Status wrong = rpc::AppendMetadata(initial_block_, EntryKind::kInitialMetadata, context_.send_metadata_); !wrong.ok()) return wrong;
  }
  if (!context_.authority_.empty()) rpc::AppendEntry(initial_block_, EntryKind::kAuthority, {}, context_.authority_);
  if (initial_block_.size() + rpc::EntryBytes({}, method_.name()) > rpc::kMaxBlockBytes) {
    return Status(StatusCode::RESOURCE_EXHAUSTED,
                  Cat("metadata, authority and method name are over the limit of ", rpc::kMaxBlockBytes, " bytes"));
  }
  return message == nullptr ? Status() : CheckSize(*message);
}

Status ClientCallCore::WhyNotBegin() const {
  if (cancelled()) return Cancelled();
  if (deadline_ns() != kNoDeadline && deadline_ns() <= MonotonicNs()) return DeadlineExceeded();
  return Status();
}

bool ClientCallCore::Attach() {
  std::lock_guard lock(context_.mu_);
  if (context_.cancelled_) return false;
  context_.call_ = this;
  return true;
}

ClientCallCore::Begun ClientCallCore::Open(std::shared_ptr<rpc::ClientConnection> connection, bool lead) {
  rpc::StreamPtr stream = connection->NewStream(channel_->max_receive_bytes(), lead);
  if (stream == nullptr) return Begun::kLost;
  if (Show(connection, stream)) return Begun::kYes;
  connection->Forget(*stream);
  return Begun::kCancelled;
}

bool ClientCallCore::Show(std::shared_ptr<rpc::ClientConnection>& connection, rpc::StreamPtr& stream) {
  std::unique_lock lock(context_.mu_, std::defer_lock);
  // Who cancels finds this call already where it waited for a connection, or was begun before.
  if (context_.call_.load(std::memory_order_relaxed) != nullptr) lock.lock();
  context_.peer_ = connection->peer();
  connection_ = std::move(connection);
  stream_ = std::move(stream);
  context_.call_.exchange(this, std::memory_order_seq_cst);
  if (!context_.cancelled_.load(std::memory_order_seq_cst)) [[likely]] return true;
  if (!lock.owns_lock()) lock.lock();
  stream = std::exchange(stream_, nullptr);
  connection = std::exchange(connection_, nullptr);
  return false;
}

ClientCallCore::Begun ClientCallCore::BeginOn(std::shared_ptr<rpc::ClientConnection> connection, const OutgoingMessage* message,
                                              uint8_t flags, bool lead) {
  if (const Begun opened = Open(std::move(connection), lead); opened != Begun::kYes) return opened;
  if (SendBegin(message, flags) != rpc::Stream::Sending::kClosed) return Begun::kYes;
  // Never published to the server: it may be tried again without a word.
  connection_->Forget(*stream_);
  std::lock_guard lock(context_.mu_);
  stream_ = nullptr;
  return context_.cancelled_ ? Begun::kCancelled : Begun::kLost;
}

void ClientCallCore::Close() {
  StopLeading();
  std::lock_guard lock(context_.mu_);
  context_.call_ = nullptr;
  stream_ = nullptr;
  connection_ = nullptr;
}

void ClientCallCore::StopLeading() {
  if (stream_ != nullptr && stream_->leads()) connection_->StopLeading(*stream_);
}

rpc::Stream::Sending ClientCallCore::SendBegin(const OutgoingMessage* message, uint8_t flags) {
  std::string with_name;
  OutFrame begin = {.type = FrameType::kBegin, .flags = flags, .number = method_.id(), .block = initial_block_};
  if (!connection_->MethodKnown(method_.id())) {
    rpc::AppendEntry(with_name, EntryKind::kMethodName, {}, method_.name());
    begin.block = with_name += initial_block_;
  }
  if (deadline_ns() != kNoDeadline) {
    if (connection_->shares_clock()) {
      begin.deadline = static_cast<uint64_t>(deadline_ns());
    } else {
      begin.flags |= rpc::kRelativeDeadline;
      begin.deadline = static_cast<uint64_t>(std::max<int64_t>(1, deadline_ns() - MonotonicNs()));
    }
  }
  if (message != nullptr && attached()) [[unlikely]] {
    if (begin_fds_ == nullptr) begin_fds_ = TakeAttached();
    begin.fds = &begin_fds_;
  }
  return stream_->Send(begin, message);
}

Status ClientCallCore::CheckAttached(const rpc::ClientConnection& connection) const {
  const std::vector<UniqueFd>& attached = begin_fds_ != nullptr ? *begin_fds_ : context_.send_fds_;
  return rpc::CheckFds(attached, connection.link());
}

rpc::SharedFds ClientCallCore::TakeAttached() {
  if (context_.send_fds_.empty()) [[likely]] return nullptr;
  return std::make_shared<const std::vector<UniqueFd>>(std::exchange(context_.send_fds_, {}));
}

// ---- while it runs ---------------------------------------------------------------------------

Status ClientCallCore::CheckSize(const OutgoingMessage& message) const {
  if (channel_->max_send_bytes() == std::numeric_limits<int64_t>::max()) return Status();
  const size_t bytes = message.size(message.message);
  if (bytes <= static_cast<uint64_t>(channel_->max_send_bytes())) return Status();
  return Status(StatusCode::RESOURCE_EXHAUSTED,
                Cat("a message of ", bytes, " bytes is larger than the channel's send limit of ", channel_->max_send_bytes()));
}

Status ClientCallCore::CheckMessage(const OutgoingMessage& message) const {
  if (!context_.send_fds_.empty()) [[unlikely]] {
    if (Status wrong = CheckAttached(*connection_); !wrong.ok()) return wrong;
  }
  return CheckSize(message);
}

rpc::Stream::Sending ClientCallCore::SendMessage(const OutgoingMessage& message, bool last) {
  if (Status wrong = CheckMessage(message); !wrong.ok()) {
    End(std::move(wrong));
    return rpc::Stream::Sending::kClosed;
  }
  const uint8_t flags = last ? rpc::kHalfCloses : 0;
  const rpc::SharedFds fds = TakeAttached();
  return stream_->Send({.type = FrameType::kMessage, .flags = flags, .fds = fds != nullptr ? &fds : nullptr}, &message);
}

// The context outlives the stream, so the descriptors go there at once.
void ClientCallCore::NoteFds() { CloseElsewhere(std::exchange(context_.received_fds_, stream_->TakeFds())); }

bool ClientCallCore::TakeMessage(const IncomingMessage& message) {
  auto received = stream_->Take();
  if (stream_->fds_came()) [[unlikely]] NoteFds();
  if (!received.has_value()) return false;
  if (received->ParseInto(message)) return true;
  unparsable_ = true;  // the server may have ended the call with OK already
  End(Unparsable());
  return false;
}

void ClientCallCore::NoteInitial() {
  if (initial_noted_ || !stream_->initial_seen()) return;
  initial_noted_ = true;
  stream_->TakeInitialBlock(context_.initial_block_);
}

// ---- the end ---------------------------------------------------------------------------------

Status ClientCallCore::Conclude(const IncomingMessage* response) {
  if (stream_ == nullptr) return local_status_;
  NoteInitial();
  stream_->TakeTrailingBlock(context_.trailing_block_);
  Status status = stream_->status();
  // Whatever the server sent shows that it had the begin of the call, and with it the name.
  if (stream_->initial_seen() && status.error_code() != StatusCode::UNIMPLEMENTED) connection_->NoteMethodKnown(method_.id());
  // The server watches the same deadline; what it says of a call that ran out of time is not news.
  if (!status.ok() && deadline_ns() <= stream_->failed_at_ns()) return DeadlineExceeded();
  if (!status.ok()) return status;
  if (unparsable_) return Unparsable();
  if (response == nullptr) return status;
  auto received = stream_->Take();
  if (stream_->fds_came()) [[unlikely]] NoteFds();
  if (!received.has_value()) return Status(StatusCode::INTERNAL, "the server sent no response");
  if (received->ParseInto(*response)) return status;
  return Status(StatusCode::INTERNAL, "the response does not parse");
}

void ClientCallCore::LeaveContext() {
  StopLeading();
  context_.call_.exchange(ClientContext::Ended(), std::memory_order_seq_cst);
  // Who cancels may be using it.
  if (context_.cancelled_.load(std::memory_order_seq_cst)) [[unlikely]] {
    std::lock_guard until_then(context_.mu_);
  }
}

}  // namespace ipcrpc::internal
