#include "rpc/memory/borrowing.h"

#include <cstring>
#include <optional>
#include <utility>

#include "rpc/connection.h"
#include "rpc/memory/mapping_budget.h"
#include "transport/base/fork_guard.h"
#include "transport/base/log.h"
#include "transport/base/strings.h"

namespace ipcrpc::rpc {
namespace {

template <typename Body>
std::optional<Body> BodyOf(std::string_view value) {
  Body body;
  if (value.size() != sizeof(body)) return std::nullopt;
  std::memcpy(&body, value.data(), sizeof(body));
  return body;
}

}  // namespace

class Borrowing::ReturnPath {
 public:
  explicit ReturnPath(Connection* connection) : connection_(connection) {}

  void Return(uint32_t loan) {
    if (!fork_guard_.ours()) return;  // the parent reads it still, and the link is the parent's
    std::lock_guard lock(mu_);
    if (connection_ != nullptr) connection_->SendControl({.type = FrameType::kReturn, .number = loan});
  }
  void Close() {
    if (!fork_guard_.ours()) return;
    std::lock_guard lock(mu_);
    connection_ = nullptr;
  }

 private:
  const ForkGuard fork_guard_;
  internal::Mutex mu_;
  Connection* connection_;
};

struct Borrowing::Loan {
  Loan(std::shared_ptr<SharedRegion> of, std::shared_ptr<ReturnPath> path, uint32_t loan)
      : region(std::move(of)), returns(std::move(path)), number(loan) {}
  ~Loan() {
    if (number != 0) returns->Return(number);
  }

  const std::shared_ptr<SharedRegion> region;
  const std::shared_ptr<ReturnPath> returns;
  const uint32_t number;
};

Borrowing::Borrowing(Connection* connection, bool trusted)
    : connection_(connection), trusted_(trusted), returns_(std::make_shared<ReturnPath>(connection)),
      mappings_(std::make_shared<std::atomic<uint32_t>>(0)) {}

Borrowing::~Borrowing() { Close(); }

void Borrowing::Close() { returns_->Close(); }

void Borrowing::Refuse(uint32_t number, std::string_view why) {
  // Once: how often it is tried is the peer's affair.
  if (!std::exchange(logged_, true)) {
    Log(LogSeverity::kWarning, Cat(connection_->peer()->description, ": messages will not lie in the memory that the peer has shown: ", why));
  }
  connection_->SendControl({.type = FrameType::kMemoryRefused, .number = number});
}

bool Borrowing::OnMemory(uint32_t number, std::string_view block, UniqueFd fd) {
  const std::optional<MemoryBody> body = BodyOf<MemoryBody>(FindEntry(block, EntryKind::kMemory));
  if (!body.has_value() || number != last_number_ + 1 || seen_.size() >= kMaxMemories || body->reserved != 0 || body->bytes == 0) {
    return false;
  }
  const auto kind = static_cast<SharedRegion::Kind>(body->kind);
  if (body->kind > UINT8_MAX || (kind != SharedRegion::Kind::kPool && kind != SharedRegion::Kind::kSealed)) return false;
  last_number_ = number;
  std::shared_ptr<SharedRegion>& seen = seen_[number];
  if (!fd.valid()) {
    Refuse(number, "its descriptor did not come");
    return true;
  }
  if (body->bytes > kMaxMemoryBytes - bytes_) {
    Refuse(number, Cat("it has ", body->bytes, " bytes, and all of one peer's may have ", kMaxMemoryBytes));
    return true;
  }
  if (mappings_->load(std::memory_order_relaxed) >= kMaxMappingsOfConnection) {
    Refuse(number, Cat("messages that are kept here, or not read, lie in ", kMaxMappingsOfConnection, " of this peer"));
    return true;
  }
  std::shared_ptr<void> room = TakeMapping(connection_->peer()->credentials.uid);
  if (room == nullptr) {
    Refuse(number, Cat("there are ", kMaxMappingsOfUser, " of its user, or ", kMaxMappings, " of all, already"));
    return true;
  }
  absl::StatusOr<std::shared_ptr<SharedRegion>> region = SharedRegion::Map(kind, std::move(fd), body->bytes);
  if (!region.ok()) {
    if (absl::IsInvalidArgument(region.status())) return false;
    Refuse(number, MessageOf(region.status()));
    return true;
  }
  mappings_->fetch_add(1, std::memory_order_relaxed);
  (*region)->AtEnd([of_one = mappings_, room = std::move(room)] { of_one->fetch_sub(1, std::memory_order_relaxed); });
  bytes_ += body->bytes;
  seen = *std::move(region);
  return true;
}

bool Borrowing::OnMemoryGone(uint32_t number) {
  const auto it = seen_.find(number);
  if (it == seen_.end()) return false;
  if (it->second != nullptr) bytes_ -= it->second->size();
  seen_.erase(it);
  return true;
}

Borrowing::Resolved Borrowing::Resolve(std::string_view block, uint64_t message_bytes, BorrowedParts* parts) {
  why_lost_ = Status();
  uint64_t left = message_bytes;  // in the frames, in the end
  uint64_t before = 0;
  size_t count = 0;
  EntryReader reader(block);
  while (const std::optional<Entry> entry = reader.Next()) {
    if (entry->kind != EntryKind::kReference) continue;
    const std::optional<ReferenceBody> body = BodyOf<ReferenceBody>(entry->value);
    if (!body.has_value() || ++count > kMaxReferences || body->bytes == 0 || body->bytes > left) return Resolved::kFault;
    left -= body->bytes;
    before += body->before;
    const auto it = seen_.find(body->memory);
    if (it == seen_.end()) return Resolved::kFault;
    const std::shared_ptr<SharedRegion>& region = it->second;
    if (region == nullptr) {
      why_lost_ = Status(StatusCode::RESOURCE_EXHAUSTED, "a message lies in memory of the peer that could not be mapped; the log says why");
      if (body->loan != 0) connection_->SendControl({.type = FrameType::kReturn, .number = body->loan});
      continue;
    }
    if (body->offset > region->size() || body->bytes > region->size() - body->offset) return Resolved::kFault;
    const bool pool = region->kind() == SharedRegion::Kind::kPool;
    if (pool != (body->loan != 0)) return Resolved::kFault;
    auto loan = std::make_shared<const Loan>(region, returns_, body->loan);
    const auto* const begin = reinterpret_cast<const uint8_t*>(region->data() + body->offset);
    parts->push_back({.before = body->before,
                      .slice = internal::SharedSlices::Make(std::shared_ptr<const uint8_t>(std::move(loan), begin), body->bytes, nullptr),
                      .may_change = pool && !trusted_});
  }
  if (reader.broken() || before > left || count == 0) return Resolved::kFault;
  return why_lost_.ok() ? Resolved::kOk : Resolved::kLost;
}

}  // namespace ipcrpc::rpc
