// What a stream sends: whole frames in place; large messages piece by piece; and what waits for credit or space.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "rpc/connection.h"
#include "rpc/stream.h"
#include "transport/base/atomics.h"
#include "transport/base/copy.h"
#include "transport/base/status_macros.h"
#include "transport/base/ticks.h"

namespace ipcrpc::rpc {
namespace {

// The most that waits in one frame.
constexpr uint32_t kChunkBytes = 64 * 1024;
// Where the peer reads what is written at once: it copies one piece while the next is written here.
constexpr uint32_t kPieceBytes = 32 * 1024;
constexpr uint32_t kWholeBytes = 48 * 1024;
// For the peer to read on.
constexpr uint64_t kSpaceSpinUs = 40;
// A message that was begun goes on without waiting for credit, up to this much: what its reader has of it counts against the
// message limit, not the window. The peer tolerates more (kOverdraft in stream.cc).
constexpr int64_t kOwnOverdraft = 1024 * 1024;

constexpr bool IsControl(FrameType type) { return type != FrameType::kMessage && type != FrameType::kBegin; }

// Of what is left of a message: all like, so that no small rest needs a frame of its own.
size_t NextChunk(size_t left, size_t most) {
  if (left <= most) return left;
  const size_t chunks = (left + most - 1) / most;
  return std::min(most, ((left + chunks - 1) / chunks + 63) / 64 * 64);
}

}  // namespace

inline void Stream::SendLocked(const OutFrame& frame, const internal::OutgoingMessage* message) {
  const size_t message_bytes = message == nullptr ? 0 : message->size(message->message);
  if (message != nullptr && message->slices != nullptr && SendLent(frame, *message)) [[unlikely]] return;
  if (out_.empty() && TryWhole(frame, message, message_bytes) == Sent::kDone) return;
  Enqueue(frame, message, message_bytes);
  PumpLocked();
}

Stream::Sending Stream::Send(const OutFrame& frame, const internal::OutgoingMessage* message) {
  std::lock_guard lock(mu_);
  if (out_closed_) return Sending::kClosed;
  SendLocked(frame, message);
  return out_.empty() ? Sending::kDone : Sending::kQueued;
}

Stream::Sending Stream::SendLast(const OutFrame& frame, const internal::OutgoingMessage* message) {
  std::lock_guard lock(mu_);
  if (out_closed_) return Sending::kClosed;
  SendLastLocked(frame, message);
  return out_.empty() ? Sending::kDone : Sending::kQueued;
}

void Stream::SendLastLocked(const OutFrame& frame, const internal::OutgoingMessage* message) {
  out_closed_ = true;
  last_taken_ = true;
  SendLocked(frame, message);
}

// False: it is to be sent as it is.
bool Stream::SendLent(const OutFrame& frame, const internal::OutgoingMessage& message) {
  std::optional<LentMessage> lent = connection_->Lend(message.slices(message.message));
  if (!lent.has_value() || frame.block.size() + lent->block().size() > kMaxBlockBytes) return false;
  if (message.forget != nullptr) message.forget(message.message);
  OutFrame referring = frame;
  referring.lent = &*lent;
  const internal::OutgoingMessage rest = {
      .message = &*lent,
      .size = [](const void* of) { return static_cast<const LentMessage*>(of)->inline_bytes(); },
      .write = [](const void* of, std::byte* out, size_t) { static_cast<const LentMessage*>(of)->WriteInline(out); }};
  SendLocked(referring, &rest);
  return true;
}

void Stream::Abort(const OutFrame& last, Status status) {
  std::shared_ptr<internal::CancelTarget> at_end;
  {
    std::lock_guard lock(mu_);
    if (!out_closed_) {
      out_.clear();
      SendLastLocked(last, nullptr);
    }
    at_end = EndLocked(std::move(status), {}, /*drop_unread=*/true);
  }
  if (at_end != nullptr) at_end->Cancel();
}

Stream::Sent Stream::TryWhole(const OutFrame& frame, const internal::OutgoingMessage* message, size_t message_bytes) {
  if (message != nullptr && (credit_ <= 0 || GoesInPieces(*message, message_bytes))) return Sent::kLater;
  const std::string_view references = frame.lent == nullptr ? std::string_view() : frame.lent->block();
  const size_t block_bytes = frame.block.size() + references.size();
  const uint64_t total = uint64_t{kHeaderBytes} + block_bytes + message_bytes;
  const auto size = [total](uint32_t max) { return total <= max ? static_cast<uint32_t>(total) : 0; };
  Connection::FdsToSend fds(frame.fds);
  const auto fill = [&](std::byte* at, uint32_t) {
    FrameHeader header = {.type = frame.type, .flags = frame.flags, .stream = id_, .number = frame.number,
                          .block_bytes = static_cast<uint32_t>(block_bytes), .deadline = frame.deadline};
    if (message != nullptr) {
      header.flags |= kHasMessage | kFirstChunk;
      header.message_bytes = static_cast<uint32_t>(message_bytes);
    }
    if (frame.lent != nullptr) [[unlikely]] {
      header.flags |= kRefers;
      header.message_bytes += static_cast<uint32_t>(frame.lent->referenced_bytes());
      std::memcpy(at + sizeof(header) + frame.block.size(), references.data(), references.size());
    }
    fds.Announce(header);
    if (frame.type == FrameType::kBegin) begin_order_ = connection_->CountBegin();
    std::memcpy(at, &header, sizeof(header));
    if (!frame.block.empty()) std::memcpy(at + sizeof(header), frame.block.data(), frame.block.size());
    if (message_bytes != 0) message->write(message->message, at + sizeof(header) + block_bytes, message_bytes);
  };
  const auto frame_class = IsControl(frame.type) && message == nullptr ? Link::Class::kControl : Link::Class::kData;
  if (connection_->SendFrame(frame_class, size, fill, &fds) != Connection::SendResult::kSent) return Sent::kLater;
  if (message != nullptr) credit_ -= CostOf(message_bytes, fds.count());
  if (frame.lent != nullptr) [[unlikely]] {
    credit_ -= static_cast<int64_t>(frame.lent->references()) * kEscortCost;
    frame.lent->Sent();
  }
  published_ = true;
  return Sent::kDone;
}

bool Stream::HasCredit(const OutItem& item) const { return !item.has_message || credit_ > (item.begun ? -kOwnOverdraft : 0); }

// A frame of an item, from its place in the link until it is published.
class Stream::Chunk {
 public:
  Chunk(Stream& stream, OutItem& item) : stream_(stream), item_(item), fds_(item.fds != nullptr ? &item.fds : nullptr) {}

  // False: there is no credit, or no space.
  bool Begin() {
    if (!stream_.HasCredit(item_)) return false;
    Connection& connection = *stream_.connection_;
    const size_t left = item_.message_bytes - item_.sent;
    const size_t most = connection.link().capabilities().in_place ? kPieceBytes : kChunkBytes;
    const uint32_t fixed = kHeaderBytes + static_cast<uint32_t>(item_.block.size());
    const auto size = [&](uint32_t max) {
      IPCRPC_CHECK(fixed <= max);  // whoever sends keeps to kMaxBlockBytes
      bytes_ = NextChunk(left, std::min<size_t>(max - fixed, most));
      return fixed + static_cast<uint32_t>(bytes_);
    };
    const auto frame_class = IsControl(item_.type) ? Link::Class::kControl : Link::Class::kData;
    if (connection.BeginFrame(frame_, frame_class, size, &fds_) != Connection::SendResult::kSent) return false;
    FrameHeader header = {.type = item_.type, .flags = 0, .stream = stream_.id_, .number = item_.number,
                          .block_bytes = static_cast<uint32_t>(item_.block.size()), .deadline = item_.deadline};
    const bool last = bytes_ == left;
    if (item_.has_message) {
      header.flags |= kHasMessage;
      if (!last) header.flags |= kMoreChunks;
      if (!item_.begun) {
        header.flags |= kFirstChunk;
        header.message_bytes = static_cast<uint32_t>(item_.message_bytes);
        if (item_.lent.has_value()) header.message_bytes += static_cast<uint32_t>(item_.lent->referenced_bytes());
      }
    }
    fds_.Announce(header);
    header.flags |= item_.flags & (last ? uint8_t{0xff} : static_cast<uint8_t>(~kHalfCloses));
    if (item_.type == FrameType::kBegin) stream_.begin_order_ = connection.CountBegin();
    std::memcpy(frame_.data(), &header, sizeof(header));
    std::memcpy(frame_.data() + sizeof(header), item_.block.data(), item_.block.size());
    room_ = {frame_.data() + fixed, bytes_};
    return true;
  }

  // For the bytes of the message.
  std::span<std::byte> room() const { return room_; }

  void Publish() {
    stream_.connection_->PublishFrame(frame_);
    if (item_.has_message) stream_.credit_ -= CostOf(bytes_, fds_.count());
    if (item_.lent.has_value()) {
      stream_.credit_ -= static_cast<int64_t>(item_.lent->references()) * kEscortCost;
      item_.lent->Sent();
      item_.lent.reset();
    }
    stream_.published_ = true;
    item_.sent += bytes_;
    item_.begun = true;
    // What follows the first chunk is a plain message frame.
    item_.type = FrameType::kMessage;
    item_.fds = nullptr;
    item_.block.clear();
    item_.flags &= kHalfCloses;
    item_.number = 0;
    item_.deadline = 0;
  }

 private:
  Stream& stream_;
  OutItem& item_;
  Connection::FdsToSend fds_;
  Connection::OpenFrame frame_;
  size_t bytes_ = 0;
  std::span<std::byte> room_;
};

// Has a message written where it travels, as far as there is credit and space, and the rest of it into the item.
class Stream::Pieces final : public internal::MessageSink {
 public:
  Pieces(Stream& stream, OutItem& item) : stream_(stream), item_(item) {}

  std::span<std::byte> Next() override {
    Finish();
    if (chunk_.emplace(stream_, item_).Begin() || BeginSoon()) return chunk_->room();
    chunk_.reset();
    item_.written = item_.sent;
    const size_t rest = item_.message_bytes - item_.written;
    return {item_.message.Extend(rest), rest};
  }
  // What was given last is written.
  void Finish() {
    if (!chunk_.has_value()) return;
    chunk_->Publish();
    chunk_.reset();
  }

 private:
  // As long as a copy of the rest would take, more or less.
  bool BeginSoon() {
    const Link& link = stream_.connection_->link();
    const uint64_t patience = kSpaceSpinUs * TicksPerMicrosecond();
    for (const uint64_t began = Ticks(); stream_.HasCredit(item_) && link.worth_a_spin_for_space() && Ticks() - began < patience;) {
      for (int i = 0; i < 32; ++i) CpuRelax();
      if (chunk_->Begin()) return true;
    }
    return false;
  }

  Stream& stream_;
  OutItem& item_;
  std::optional<Chunk> chunk_;
};

// Where frames are read while others are still written; but not what is hardly more than one.
bool Stream::GoesInPieces(const internal::OutgoingMessage& message, size_t message_bytes) const {
  return message_bytes > kWholeBytes && message.write_pieces != nullptr && connection_->link().capabilities().in_place;
}

void Stream::Enqueue(const OutFrame& frame, const internal::OutgoingMessage* message, size_t message_bytes) {
  if (message != nullptr && frame.type == FrameType::kFinish) {
    // A status goes after its message when they do not go together; the initial metadata goes with the first of them.
    Enqueue({.type = FrameType::kMessage, .block = frame.block, .fds = frame.fds, .lent = frame.lent}, message, message_bytes);
    Enqueue(frame, nullptr, 0);
    return;
  }
  OutItem& item = out_.emplace_back();
  item.type = frame.type;
  item.flags = frame.flags;
  item.number = frame.number;
  item.deadline = frame.deadline;
  item.block = frame.block;
  item.has_message = message != nullptr;
  item.message_bytes = message_bytes;
  if (frame.fds != nullptr && message != nullptr) item.fds = *frame.fds;
  if (frame.lent != nullptr && message != nullptr) {
    item.flags |= kRefers;
    item.block += frame.lent->block();
    message->write(message->message, item.message.Extend(message_bytes), message_bytes);
    frame.lent->ForgetInline();
    item.lent.emplace(std::move(*frame.lent));
    return;
  }
  if (message_bytes == 0) return;
  if (message->write_pieces == nullptr || message_bytes <= kPieceBytes || out_.size() != 1) {
    message->write(message->message, item.message.Extend(message_bytes), message_bytes);
    return;
  }
  Pieces pieces(*this, item);
  message->write_pieces(message->message, pieces, message_bytes);
  pieces.Finish();
  if (item.sent == message_bytes) out_.pop_back();
}

Stream::Sent Stream::SendChunk(OutItem& item) {
  Chunk chunk(*this, item);
  if (!chunk.Begin()) return Sent::kLater;
  CopyBytes(chunk.room().data(), item.message.data() + item.sent - item.written, chunk.room().size());
  chunk.Publish();
  return Sent::kDone;
}

void Stream::PumpLocked() {
  bool waited = false;
  while (!out_.empty()) {
    OutItem& item = out_.front();
    if (SendChunk(item) == Sent::kLater) {
      if (!HasCredit(item)) return;  // OnCredit() pumps
      if (waited) return;                            // OnSpace() pumps
      // Registered first and tried once more after: space that came meanwhile is not missed.
      connection_->PumpWhenSpace(this);
      waited = true;
      continue;
    }
    if (item.sent == item.message_bytes) {
      out_.pop_front();
      if (out_.empty()) NotifyLocked();
    }
  }
}

void Stream::Pump() {
  std::lock_guard lock(mu_);
  PumpLocked();
}

bool Stream::Published() const {
  std::lock_guard lock(mu_);
  return published_;
}

uint32_t Stream::begin_order() const {
  std::lock_guard lock(mu_);
  return begin_order_;
}

bool Stream::Drained() const {
  std::lock_guard lock(mu_);
  return out_.empty();
}

bool Stream::SentItsLast() const {
  std::lock_guard lock(mu_);
  return last_taken_ && out_.empty();
}

}  // namespace ipcrpc::rpc
