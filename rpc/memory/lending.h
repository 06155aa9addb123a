// What one end of a connection has shown its peer of its memory, and lent it: the sender's half of messages by reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "ipcrpc/internal/mutex.h"
#include "ipcrpc/support/slice.h"
#include "rpc/frame.h"
#include "rpc/memory/shared_region.h"
#include "transport/base/fork_guard.h"
#include "transport/link.h"

namespace ipcrpc::rpc {

class Connection;
class Lending;

// A message of which parts are not sent but referred to. Until Sent() what it lends is taken back with it.
class LentMessage {
 public:
  LentMessage(LentMessage&&) noexcept = default;
  LentMessage& operator=(LentMessage&&) = delete;
  ~LentMessage();

  size_t references() const { return references_; }
  size_t referenced_bytes() const { return referenced_bytes_; }
  const std::string& block() const { return block_; }  // the references
  // The rest, which goes with the frame.
  size_t inline_bytes() const { return inline_bytes_; }
  void WriteInline(std::byte* out) const;
  // It is written. What remains is shared memory, with which no code of a user's goes, so that it may go with a stream's lock.
  void ForgetInline();

  // The peer has been told.
  void Sent();

 private:
  friend class Lending;
  LentMessage() = default;

  std::shared_ptr<Lending> lending_;  // null once it is sent
  size_t references_ = 0, referenced_bytes_ = 0, inline_bytes_ = 0;
  std::string block_;
  std::vector<Slice> slices_;  // all of it: nothing of it may go before the peer is told
  std::vector<uint32_t> loans_;
  std::vector<uint32_t> memories_;  // of each reference
};

// Any thread. Lock order: a stream's, this one's, then the connection's send role.
class Lending : public std::enable_shared_from_this<Lending> {
 public:
  // `peer_features`: of its hello.
  Lending(Connection* connection, uint64_t peer_features, uint32_t peer_pid)
      : connection_(connection), peer_keeps_((peer_features & kKeepsReferences) != 0), peer_pid_(peer_pid) {}

  // A slice below this is cheaper to copy.
  static constexpr size_t kLeastBytes = 16 * 1024;
  // Whether Lend() is worth a try.
  static bool MayRefer(std::span<const Slice> slices);

  // Nullopt: the message is copied, since nothing of it lies in memory that may be shown, or the peer has enough of it.
  std::optional<LentMessage> Lend(std::span<const Slice> slices);
  // False: the peer has no such loan.
  bool OnReturn(uint32_t loan);
  // The peer has no use for memory that it was shown. False: it was not.
  bool OnRefused(uint32_t memory);
  // Nothing is sent any more, and the peer has what it has.
  void Close();

 private:
  friend class LentMessage;
  // Each costs the call whose message was on its way.
  static constexpr uint32_t kMostRefusals = 4;
  // With one peer, so that what it returns at once fits its end's queue.
  static constexpr size_t kMostLoans = 16 * 1024;
  // Of private bytes in a message of which the rest is referred to: as many as fit any frame.
  static constexpr size_t kMostInline = 8 * 1024;

  struct Shown {
    uint32_t number;
    const SharedRegion* region;
    uint64_t at_end;  // of the region
    bool refused = false;
    uint32_t unsent = 0;      // references that are on no link yet
    size_t lent_bytes = 0;    // of a pool
  };
  struct Loan {
    Slice slice;
    uint32_t memory;
  };

  // With the lock.
  Shown* Show(const SharedRegion* region);
  Shown* Find(const SharedRegion* region);
  Shown* Find(uint32_t number);
  bool MakeRoom(size_t bytes);
  void Hide(std::list<Shown>::iterator shown);
  bool MayLend(const Shown& shown, size_t bytes) const;

  void Forget(uint32_t memory);  // the region is gone
  void TakeBack(const LentMessage& message);
  void NoteSent(const LentMessage& message);

  const ForkGuard fork_guard_;  // what a child inherits is the parent's to return
  internal::Mutex mu_;
  Connection* connection_;  // null once closed
  const bool peer_keeps_;
  const uint32_t peer_pid_;  // as it says
  std::optional<uint64_t> peer_start_time_;
  std::list<Shown> shown_;  // the one used last in front
  uint64_t shown_bytes_ = 0;
  uint32_t refusals_ = 0;
  uint32_t last_memory_ = 0;
  std::unordered_map<uint32_t, Loan> loans_;
  uint32_t last_loan_ = 0;
};

}  // namespace ipcrpc::rpc
