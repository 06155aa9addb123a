#include "rpc/memory/lending.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "rpc/connection.h"
#include "rpc/memory/abandoned.h"
#include "transport/base/copy.h"
#include "transport/base/process.h"
#include "transport/trust.h"

namespace ipcrpc::rpc {
namespace {

using internal::SharedSlices;

bool Refers(const Slice& slice) {
  return slice.size() >= Lending::kLeastBytes && slice.size() <= UINT32_MAX && SharedSlices::RegionOf(slice) != nullptr;
}

template <typename Body>
std::string_view BytesOf(const Body& body) {
  return {reinterpret_cast<const char*>(&body), sizeof(body)};
}

}  // namespace

// ---- a message -------------------------------------------------------------------------------

LentMessage::~LentMessage() {
  if (lending_ != nullptr) lending_->TakeBack(*this);
}

void LentMessage::WriteInline(std::byte* out) const {
  for (const Slice& slice : slices_) {
    if (Refers(slice)) continue;
    CopyBytes(out, reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
    out += slice.size();
  }
}

void LentMessage::ForgetInline() { std::erase_if(slices_, [](const Slice& slice) { return !Refers(slice); }); }

void LentMessage::Sent() {
  if (lending_ != nullptr) std::exchange(lending_, nullptr)->NoteSent(*this);
  slices_.clear();
}

// ---- lending ---------------------------------------------------------------------------------

bool Lending::MayRefer(std::span<const Slice> slices) { return std::any_of(slices.begin(), slices.end(), Refers); }

Lending::Shown* Lending::Find(const SharedRegion* region) {
  const auto it = std::find_if(shown_.begin(), shown_.end(), [region](const Shown& shown) { return shown.region == region; });
  if (it == shown_.end()) return nullptr;
  shown_.splice(shown_.begin(), shown_, it);
  return &*it;
}

Lending::Shown* Lending::Find(uint32_t number) {
  const auto it = std::find_if(shown_.begin(), shown_.end(), [number](const Shown& shown) { return shown.number == number; });
  return it == shown_.end() ? nullptr : &*it;
}

void Lending::Hide(std::list<Shown>::iterator shown) {
  shown_bytes_ -= shown->region->size();
  if (connection_ != nullptr) connection_->SendControl({.type = FrameType::kMemoryGone, .number = shown->number});
  shown_.erase(shown);
}

bool Lending::MakeRoom(size_t bytes) {
  while (shown_.size() >= kMaxMemories || bytes > kMaxMemoryBytes - shown_bytes_) {
    // The peer keeps what it has of it.
    const auto it = std::find_if(shown_.rbegin(), shown_.rend(), [](const Shown& shown) { return shown.unsent == 0 && shown.lent_bytes == 0; });
    if (it == shown_.rend()) return false;
    it->region->NotAtEnd(it->at_end);
    Hide(std::next(it).base());
  }
  return true;
}

Lending::Shown* Lending::Show(const SharedRegion* region) {
  if (Shown* const shown = Find(region)) return shown->refused ? nullptr : shown;
  if (refusals_ >= kMostRefusals || !MakeRoom(region->size())) return nullptr;
  std::vector<UniqueFd> descriptor;
  descriptor.push_back(UniqueFd::DuplicateOf(region->fd()));
  if (!descriptor.front().valid()) return nullptr;
  const MemoryBody body = {.bytes = region->size(), .kind = static_cast<uint32_t>(region->kind())};
  const uint32_t number = last_memory_ + 1;
  const auto sent = connection_->SendMemory(number, body, std::make_shared<const std::vector<UniqueFd>>(std::move(descriptor)));
  if (sent == Connection::MemorySending::kNoSpace) return nullptr;
  last_memory_ = number;
  const uint64_t at_end = region->AtEnd([weak = weak_from_this(), number] {
    if (const auto self = weak.lock()) self->Forget(number);
  });
  shown_bytes_ += region->size();
  shown_.push_front({.number = number, .region = region, .at_end = at_end, .refused = sent == Connection::MemorySending::kRefused});
  return shown_.front().refused ? nullptr : &shown_.front();
}

// A peer that keeps what it reads is lent to only where its end can be seen, and by no other user: it says so itself, and would have
// the blocks for as long as it lives. See AbandonTo().
bool Lending::MayLend(const Shown& shown, size_t bytes) const {
  if (shown.lent_bytes + bytes > shown.region->size() / 2 || loans_.size() >= kMostLoans) return false;
  return !peer_keeps_ || peer_start_time_.value_or(0) != 0;
}

std::optional<LentMessage> Lending::Lend(std::span<const Slice> slices) {
  LentMessage message;
  for (const Slice& slice : slices) {
    if (!Refers(slice)) {
      message.inline_bytes_ += slice.size();
    } else {
      message.referenced_bytes_ += slice.size();
      ++message.references_;
    }
  }
  if (message.references_ == 0 || message.references_ > kMaxReferences || message.inline_bytes_ > kMostInline) return std::nullopt;
  if (message.referenced_bytes_ + message.inline_bytes_ > UINT32_MAX) return std::nullopt;
  std::lock_guard lock(mu_);
  if (connection_ == nullptr) return std::nullopt;
  message.slices_.assign(slices.begin(), slices.end());
  if (peer_keeps_ && !peer_start_time_.has_value()) {
    const PeerCredentials& peer = connection_->peer()->credentials;
    // An activated server's socket was made by another process, and in another PID namespace its number means nothing.
    const bool known = peer.pid > 0 && static_cast<uint32_t>(peer.pid) == peer_pid_ && OfOurUid(peer);
    peer_start_time_ = known ? ProcessStartTime(peer.pid) : 0;
  }
  ReferenceBody body;
  for (const Slice& slice : slices) {
    if (!Refers(slice)) {
      body.before += static_cast<uint32_t>(slice.size());
      continue;
    }
    const SharedRegion* const region = SharedSlices::RegionOf(slice);
    Shown* const shown = Show(region);
    const bool lends = region->kind() == SharedRegion::Kind::kPool;
    if (shown == nullptr || (lends && !MayLend(*shown, slice.size()))) break;
    body.memory = shown->number;
    body.offset = static_cast<uint64_t>(reinterpret_cast<const std::byte*>(slice.begin()) - region->data());
    body.bytes = static_cast<uint32_t>(slice.size());
    body.loan = 0;
    if (lends) {
      do {
        body.loan = ++last_loan_;
      } while (body.loan == 0 || !loans_.try_emplace(body.loan, Loan{slice, shown->number}).second);
      shown->lent_bytes += slice.size();
      message.loans_.push_back(body.loan);
    }
    ++shown->unsent;
    message.memories_.push_back(shown->number);
    AppendEntry(message.block_, EntryKind::kReference, {}, BytesOf(body));
    body.before = 0;
  }
  // From here on it gives back what it has taken.
  message.lending_ = shared_from_this();
  if (message.memories_.size() == message.references_) return message;
  return std::nullopt;
}

void Lending::TakeBack(const LentMessage& message) {
  if (!fork_guard_.ours()) return;
  std::vector<Slice> back;
  std::lock_guard lock(mu_);
  for (const uint32_t loan : message.loans_) {
    const auto it = loans_.find(loan);
    if (it == loans_.end()) continue;
    if (Shown* const shown = Find(it->second.memory)) shown->lent_bytes -= it->second.slice.size();
    back.push_back(std::move(it->second.slice));
    loans_.erase(it);
  }
  for (const uint32_t memory : message.memories_) {
    if (Shown* const shown = Find(memory)) --shown->unsent;
  }
}

void Lending::NoteSent(const LentMessage& message) {
  std::lock_guard lock(mu_);
  for (const uint32_t memory : message.memories_) {
    if (Shown* const shown = Find(memory)) --shown->unsent;
  }
}

bool Lending::OnReturn(uint32_t loan) {
  Slice back;
  std::lock_guard lock(mu_);
  const auto it = loans_.find(loan);
  if (it == loans_.end()) return connection_ == nullptr;
  if (Shown* const shown = Find(it->second.memory)) shown->lent_bytes -= it->second.slice.size();
  back = std::move(it->second.slice);
  loans_.erase(it);
  return true;
}

bool Lending::OnRefused(uint32_t memory) {
  std::lock_guard lock(mu_);
  if (memory == 0 || memory > last_memory_) return false;
  ++refusals_;
  if (Shown* const shown = Find(memory)) shown->refused = true;
  return true;
}

void Lending::Forget(uint32_t memory) {
  if (!fork_guard_.ours()) return;
  std::lock_guard lock(mu_);
  const auto it = std::find_if(shown_.begin(), shown_.end(), [memory](const Shown& shown) { return shown.number == memory; });
  if (it != shown_.end()) Hide(it);
}

void Lending::Close() {
  std::vector<Slice> kept, back;
  pid_t pid;
  uint64_t start_time;
  {
    std::lock_guard lock(mu_);
    if (connection_ == nullptr) return;
    pid = connection_->peer()->credentials.pid;
    start_time = peer_start_time_.value_or(0);
    connection_ = nullptr;
    for (auto& [number, loan] : loans_) (peer_keeps_ ? kept : back).push_back(std::move(loan.slice));
    loans_.clear();
    // Each is there still: who ends it waits for Forget().
    for (const Shown& shown : shown_) shown.region->NotAtEnd(shown.at_end);
    shown_.clear();
  }
  if (!kept.empty()) AbandonTo(std::move(kept), pid, start_time);
}

}  // namespace ipcrpc::rpc
