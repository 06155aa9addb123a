// What one end of a connection has been shown of its peer's memory: the receiver's half of messages by reference.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ipcrpc/internal/mutex.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/slice.h"
#include "rpc/frame.h"
#include "rpc/memory/shared_region.h"

namespace ipcrpc::rpc {

class Connection;

// A part of a message that lies in the peer's memory. With its last slice the peer gets it back.
struct BorrowedPart {
  uint32_t before;  // bytes of the message's own that come between the part before and this one
  Slice slice;
  bool may_change;  // while it is read, so that it has to be copied first
};

// All of one message's, and what else there is to know about them.
using BorrowedParts = std::vector<BorrowedPart>;

// In the receive role, but for Close().
class Borrowing {
 public:
  // `trusted`: the peer does not change what it has lent.
  Borrowing(Connection* connection, bool trusted);
  ~Borrowing();

  // The peer shows memory; `fd` invalid: it did not come. What cannot be mapped is refused. False: the peer breaks the protocol.
  bool OnMemory(uint32_t number, std::string_view block, UniqueFd fd);
  bool OnMemoryGone(uint32_t number);

  enum class Resolved { kOk, kLost, kFault };
  // The parts of a message of `message_bytes` in all to which the block of its first frame refers. kLost: they are in memory that could
  // not be mapped; then why_lost() says why.
  Resolved Resolve(std::string_view block, uint64_t message_bytes, BorrowedParts* parts);
  const Status& why_lost() const { return why_lost_; }

  // Nothing is returned any more. Any thread.
  void Close();

 private:
  // Where loans go back.
  class ReturnPath;
  struct Loan;
  void Refuse(uint32_t number, std::string_view why);

  Connection* const connection_;
  const bool trusted_;
  const std::shared_ptr<ReturnPath> returns_;
  const std::shared_ptr<std::atomic<uint32_t>> mappings_;  // that are left, also of memory that the peer has taken back
  std::unordered_map<uint32_t, std::shared_ptr<SharedRegion>> seen_;  // null: it was refused
  uint32_t last_number_ = 0;
  uint64_t bytes_ = 0;
  bool logged_ = false;
  Status why_lost_;
};

}  // namespace ipcrpc::rpc
