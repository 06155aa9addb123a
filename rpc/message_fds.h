// Descriptors that go with messages: those that a caller attaches, and those of messages that have arrived.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "ipcrpc/status.h"
#include "ipcrpc/unique_fd.h"
#include "transport/link.h"

namespace ipcrpc::rpc {

// Of one message to be sent; shared by those who may still have to send it, the last of whom closes them.
using SharedFds = std::shared_ptr<const std::vector<UniqueFd>>;

// Whether `attached` can go with a message on `link`. FAILED_PRECONDITION: its transport passes none; RESOURCE_EXHAUSTED: too
// many for one message; INVALID_ARGUMENT: one is not open.
Status CheckFds(std::span<const UniqueFd> attached, const Link& link);

// How many that have arrived on one connection may be unread; a call that brings more ends with RESOURCE_EXHAUSTED.
inline constexpr uint32_t kMaxUnreadFds = 256;

// Those of one stream's messages, in order, from their arrival until the reader takes them. What nobody takes is closed. Made
// with the first; used with the stream's lock held.
class UnreadFds {
 public:
  // `count` is the connection's, of what is unread on all its streams.
  explicit UnreadFds(std::shared_ptr<std::atomic<uint32_t>> count) : count_(std::move(count)) {}
  ~UnreadFds();

  // With the message that begins to arrive.
  void Push(std::vector<UniqueFd> fds);
  // The reader takes the next message, which has some or not. Those of the one before are closed.
  void Advance(bool has_some);
  // Those of the message that was taken last, once.
  std::vector<UniqueFd> Take();
  // No further message will be taken.
  void DropWaiting();

 private:
  void Close(std::vector<UniqueFd> fds);

  const std::shared_ptr<std::atomic<uint32_t>> count_;
  std::deque<std::vector<UniqueFd>> waiting_;
  std::vector<UniqueFd> current_;
};

}  // namespace ipcrpc::rpc
