#include "rpc/stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "rpc/connection.h"
#include "transport/base/company.h"
#include "transport/base/copy.h"
#include "transport/base/futex.h"
#include "transport/base/wake_batch.h"

namespace ipcrpc::rpc {
namespace {

constexpr int64_t kMaxWindow = 1024 * 1024;
// A lie about a message's size reserves no more than this at once.
constexpr size_t kTrustedReserve = 1024 * 1024;
// The peer may overdraw its credit by the message that it began with the last of it, as far as this.
constexpr int64_t kOverdraft = 16 * 1024 * 1024 / 4;

}  // namespace

// ---- in --------------------------------------------------------------------------------------

Stream::Arrival Stream::OnMessage(const FrameHeader& header, std::span<const std::byte> payload) {
  std::lock_guard lock(mu_);
  const Arrival arrival = TakeIn(header, payload);
  if (arrival == Arrival::kOk && (header.flags & kMoreChunks) == 0) NotifyLocked();
  return arrival;
}

Stream::Arrival Stream::OnMessageAndEnd(const FrameHeader& header, std::span<const std::byte> payload, Status status,
                                        std::string_view trailing_block) {
  std::shared_ptr<internal::CancelTarget> at_end;
  {
    std::lock_guard lock(mu_);
    const Arrival arrival = TakeIn(header, payload);
    if (arrival != Arrival::kOk) return arrival;
    at_end = EndLocked(std::move(status), trailing_block, /*drop_unread=*/false);
  }
  if (at_end != nullptr) at_end->Cancel();
  return Arrival::kOk;
}

Stream::Arrival Stream::TakeIn(const FrameHeader& header, std::span<const std::byte> payload) {
  if (over_.load(std::memory_order_relaxed)) return Arrival::kOk;  // nothing is added to what the reader takes without a lock
  const bool first = (header.flags & kFirstChunk) != 0;
  const bool more = (header.flags & kMoreChunks) != 0;
  if (first == assembling_) return Arrival::kFault;  // a message inside another, or a chunk of none
  if (half_closed_.load(std::memory_order_relaxed)) return Arrival::kFault;  // it had said that none would follow
  const bool escorted = header.fd_count != 0 || (header.flags & kRefers) != 0;
  const int64_t cost = CostOf(payload.size(), escorted ? header.fd_count + connection_->frame_parts().size() : 0);
  received_cost_ += cost;
  anything_received_.store(true, std::memory_order_relaxed);
  if (received_cost_ > granted_cost_ + kOverdraft) return Arrival::kFault;
  if (first) {
    if (header.message_bytes > static_cast<uint64_t>(max_receive_bytes_)) return Arrival::kTooLarge;
    current_left_ = header.message_bytes;
    if (escorted) [[unlikely]] {
      if (!connection_->why_lost().ok()) return Arrival::kLost;
      TakeEscorts(header);
    }
    current_mark_ = inbox_.size();
    current_cost_ = 0;
    const MessageMark mark = {.size = static_cast<uint32_t>(current_left_), .escorts = escorted ? EscortsOf(header) : 0, .cost = 0};
    inbox_.Reserve(inbox_.size() + sizeof(mark) + std::min<size_t>(current_left_, kTrustedReserve));
    inbox_.Append(&mark, sizeof(mark));
  }
  if (payload.size() > current_left_ || (!more && payload.size() != current_left_)) return Arrival::kFault;
  if (!payload.empty()) CopyBytes(inbox_.Extend(payload.size()), payload.data(), payload.size());
  current_left_ -= payload.size();
  current_cost_ += cost;
  assembling_ = more;
  if (more) {
    // What is being assembled counts against the message limit, not against the window.
    consumed_cost_ += cost;
    GrantLocked(false);
    return Arrival::kOk;
  }
  // Complete and unread it counts whole: no next one of its size may come before it is read.
  consumed_cost_ -= current_cost_ - cost;
  std::memcpy(inbox_.data() + current_mark_ + offsetof(MessageMark, cost), &current_cost_, sizeof(current_cost_));
  complete_bytes_ = inbox_.size();
  arrived_.store(arrived_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  if ((header.flags & kHalfCloses) != 0) half_closed_.store(true, std::memory_order_release);
  return Arrival::kOk;
}

// What comes with a message beside its bytes.
void Stream::TakeEscorts(const FrameHeader& header) {
  const uint32_t escorts = EscortsOf(header);
  if ((escorts & kWithFds) != 0) {
    if (fds_ == nullptr) fds_ = connection_->MakeUnreadFds();
    fds_->Push(connection_->ReleaseFrameFds());
    fds_came_.store(true, std::memory_order_relaxed);  // published by arrived_
  }
  if ((escorts & kWithParts) != 0) {
    if (parts_ == nullptr) parts_ = std::make_unique<std::deque<std::unique_ptr<BorrowedParts>>>();
    parts_->push_back(std::make_unique<BorrowedParts>(connection_->ReleaseFrameParts()));
    for (const BorrowedPart& part : *parts_->back()) current_left_ -= part.slice.size();
  }
}

bool Stream::OnCredit(uint32_t bytes) {
  std::lock_guard lock(mu_);
  if (credit_ > std::numeric_limits<int32_t>::max() || bytes == 0) return false;
  credit_ += bytes;
  PumpLocked();
  return true;
}

void Stream::OnInitial(std::string_view block, bool notify, bool alone) {
  if (initial_seen_.load(std::memory_order_relaxed)) return;
  if (!block.empty()) initial_block_ = block;
  initial_alone_ = alone;
  // Pairs with the acquire in initial_seen(): from here on the block is the reader's.
  initial_seen_.store(true, std::memory_order_release);
  if (notify) Locked([this] { NotifyLocked(); });
}

void Stream::OnHalfClose() {
  std::lock_guard lock(mu_);
  half_closed_.store(true, std::memory_order_release);
  NotifyLocked();
}

void Stream::End(Status status, std::string_view trailing_block, bool drop_unread) {
  std::shared_ptr<internal::CancelTarget> at_end;
  {
    std::lock_guard lock(mu_);
    at_end = EndLocked(std::move(status), trailing_block, drop_unread);
  }
  if (at_end != nullptr) at_end->Cancel();  // takes locks of other calls
}

std::shared_ptr<internal::CancelTarget> Stream::EndLocked(Status status, std::string_view trailing_block, bool drop_unread) {
  if (over_.load(std::memory_order_relaxed)) return nullptr;
  if (!status.ok()) failed_at_ns_ = MonotonicNs();
  status_ = std::move(status);
  if (!trailing_block.empty()) trailing_block_ = trailing_block;
  out_closed_ = true;
  if (!last_taken_) out_.clear();
  if (drop_unread) {
    dropped_.store(true, std::memory_order_release);
    if (fds_ != nullptr) fds_->DropWaiting();
    parts_ = nullptr;
  }
  over_.store(true, std::memory_order_release);
  NotifyLocked();
  return std::exchange(at_end_, nullptr);
}

bool Stream::EndUnbegun(Status status) {
  std::shared_ptr<internal::CancelTarget> at_end;
  {
    std::lock_guard lock(mu_);
    if (published_ || over_.load(std::memory_order_relaxed)) return true;
    if (!out_.empty()) return false;
    NoteNotRun();
    at_end = EndLocked(std::move(status), {}, /*drop_unread=*/true);
  }
  if (at_end != nullptr) at_end->Cancel();
  return true;
}

void Stream::CancelAtEnd(std::shared_ptr<internal::CancelTarget> target) {
  {
    std::lock_guard lock(mu_);
    if (!over_.load(std::memory_order_relaxed)) {
      at_end_.swap(target);
      return;
    }
  }
  target->Cancel();
}

// ---- the reader ------------------------------------------------------------------------------

bool Stream::Refill() {
  // In this order: nothing is put into the inbox of a stream that is half-closed or over.
  if (half_closed() || over()) {
    if (!Unread() || complete_bytes_ == 0) return false;
    taking_ = &inbox_;
    taken_complete_ = std::exchange(complete_bytes_, 0);
  } else {
    std::lock_guard lock(mu_);
    if (complete_bytes_ == 0) return false;
    taken_.clear();
    const size_t partial = inbox_.size() - complete_bytes_;
    inbox_.swap(taken_);
    inbox_.clear();
    inbox_.Append(taken_.data() + complete_bytes_, partial);
    current_mark_ = 0;  // of what is being assembled: now at the front
    taken_complete_ = std::exchange(complete_bytes_, 0);
  }
  taken_at_ = 0;
  return true;
}

std::optional<Stream::MessageMark> Stream::NextMark() {
  if (!MessageReady()) return std::nullopt;
  if (taken_at_ >= taken_complete_ && !Refill()) return std::nullopt;
  MessageMark mark;
  std::memcpy(&mark, taking_->data() + taken_at_, sizeof(mark));
  return mark;
}

std::optional<ReceivedMessage> Stream::Take() {
  const std::optional<MessageMark> mark = NextMark();
  if (!mark.has_value()) return std::nullopt;
  const std::span<const std::byte> bytes(taking_->data() + taken_at_ + sizeof(MessageMark), mark->size);
  taken_at_ += sizeof(MessageMark) + mark->size;
  read_.store(read_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  std::unique_ptr<BorrowedParts> parts;
  if (mark->escorts != 0 || taken_has_fds_) [[unlikely]] {
    NextFds((mark->escorts & kWithFds) != 0);
    if ((mark->escorts & kWithParts) != 0) {
      parts = NextParts();
      if (parts == nullptr) return std::nullopt;  // dropped meanwhile
    }
  }
  unreported_cost_ += mark->cost;
  // The window is looked at now and then, and always when the reader has caught up; not when no more can come.
  const bool due = unreported_cost_ > kInitialCredit / 4 || taken_at_ >= taken_complete_;
  if (due && !over() && !half_closed()) {
    std::lock_guard lock(mu_);
    consumed_cost_ += std::exchange(unreported_cost_, 0);
    GrantLocked(false);
  }
  const bool alone = taken_at_ == sizeof(MessageMark) + mark->size && taken_at_ == taken_complete_;
  return ReceivedMessage(bytes, std::move(parts), alone ? taking_ : nullptr);
}

std::unique_ptr<BorrowedParts> Stream::NextParts() {
  std::lock_guard lock(mu_);
  if (parts_ == nullptr) return nullptr;
  std::unique_ptr<BorrowedParts> parts = std::move(parts_->front());
  parts_->pop_front();
  return parts;
}

void Stream::NextFds(bool has_some) {
  taken_has_fds_ = has_some;
  std::lock_guard lock(mu_);
  if (fds_ != nullptr) fds_->Advance(has_some);
}

std::vector<UniqueFd> Stream::TakeFds() {
  if (!fds_came()) return {};
  std::lock_guard lock(mu_);
  return fds_->Take();
}

std::optional<uint32_t> Stream::NextSize() {
  const std::optional<MessageMark> mark = NextMark();
  if (!mark.has_value()) return std::nullopt;
  return (mark->escorts & kWithParts) != 0 ? static_cast<uint32_t>(mark->size + NextPartsBytes()) : mark->size;
}

size_t Stream::NextPartsBytes() {
  std::lock_guard lock(mu_);
  size_t bytes = 0;
  if (parts_ == nullptr) return 0;
  for (const BorrowedPart& part : *parts_->front()) bytes += part.slice.size();
  return bytes;
}

void Stream::GrantForReader() {
  // The first credit is whole as long as nothing has come.
  if (!anything_received_.load(std::memory_order_relaxed)) return;
  std::lock_guard lock(mu_);
  GrantLocked(true);
}

void Stream::GrantLocked(bool reader_waits) {
  if (over_.load(std::memory_order_relaxed) || half_closed_.load(std::memory_order_relaxed)) return;
  const int64_t unread = received_cost_ - consumed_cost_;
  // A reader that keeps up gets a larger window.
  if (unread == 0 && received_cost_ > granted_cost_ / 2) window_ = std::min(2 * window_, kMaxWindow);
  const int64_t due = consumed_cost_ + window_ - granted_cost_;
  const bool starved = reader_waits && received_cost_ >= granted_cost_;
  if (due < window_ / 2 && !starved) return;
  const int64_t grant = std::max<int64_t>(due, starved ? 1 : 0);
  if (grant <= 0) return;
  granted_cost_ += grant;
  connection_->SendControl({.type = FrameType::kCredit, .stream = id_, .number = static_cast<uint32_t>(grant)});
}

// ---- state -----------------------------------------------------------------------------------

bool Stream::MessageReady() const {
  return Unread() && !dropped_.load(std::memory_order_acquire);
}

bool Stream::NoMoreMessages() const {
  // In this order: what ends a stream comes after its messages.
  const bool ended = over_.load(std::memory_order_acquire) || half_closed_.load(std::memory_order_acquire);
  return ended && !MessageReady();
}

// What End() has written before it set over_ is never written again, so that it needs no lock.

Status Stream::status() const { return over() ? status_ : Status(); }

int64_t Stream::failed_at_ns() const { return over() ? failed_at_ns_ : 0; }

void Stream::TakeInitialBlock(std::string& into) {
  if (initial_seen() && !initial_block_.empty()) into = std::exchange(initial_block_, {});
}

void Stream::TakeTrailingBlock(std::string& into) {
  if (over() && !trailing_block_.empty()) into = std::exchange(trailing_block_, {});
}

// ---- waiting ---------------------------------------------------------------------------------

void Stream::SleepUnless(uint32_t events, int64_t deadline_ns) {
  Patience* const patience = connection_->link().may_spin() ? &ThisThreadsPatience() : nullptr;
  if (patience != nullptr) {
    patient_.fetch_add(1, std::memory_order_relaxed);
    const bool came = patience->AwaitShortly([&] { return events_.load(std::memory_order_acquire) != events; });
    patient_.fetch_sub(1, std::memory_order_relaxed);
    if (came) return;
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  FutexWait(&events_, events, FutexScope::kPrivate, deadline_ns);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
  if (patience != nullptr) patience->NoteSlept();
}

void Stream::NotifyLocked() {
  Wake();
  if (observer_ != nullptr) observer_->OnStreamEvent();
}

void Stream::Wake() {
  events_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) {
    WakeSleepers(&events_);
  } else if (patient_.load(std::memory_order_relaxed) == 0) {
    return;
  }
  served_company = true;
}

}  // namespace ipcrpc::rpc
