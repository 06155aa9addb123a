// A message that has come, for its reader.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "ipcrpc/internal/call.h"
#include "rpc/buffer.h"
#include "rpc/memory/borrowing.h"

namespace ipcrpc::rpc {

class ReceivedMessage {
 public:
  ReceivedMessage() = default;
  // REQUIRES: the parts' `before` do not exceed the bytes. `all_of`: a buffer in which there is nothing else that is used any more.
  // `parts`: null where there are none.
  ReceivedMessage(std::span<const std::byte> bytes, std::unique_ptr<BorrowedParts> parts, Buffer* all_of)
      : bytes_(bytes), parts_(std::move(parts)), all_of_(all_of) {}

  size_t size() const;

  // False: it does not parse. Once, since what is borrowed is given back.
  bool ParseInto(const internal::IncomingMessage& message) {
    if (parts_ == nullptr && message.adopt == nullptr) [[likely]] return message.parse(message.message, bytes_.data(), bytes_.size());
    return ParseSlices(message);
  }
  // In one piece, which is `memory` where it was not. Once. The message must live as long as the bytes are used.
  std::span<const std::byte> Join(Buffer& memory) {
    if (parts_ == nullptr) [[likely]] return bytes_;
    return JoinParts(memory);
  }

 private:
  bool ParseSlices(const internal::IncomingMessage& message);
  Slice TakeBuffer();
  std::span<const std::byte> JoinParts(Buffer& memory);

  std::span<const std::byte> bytes_;  // that came with the frame, borrowed
  std::unique_ptr<BorrowedParts> parts_;
  Buffer* all_of_ = nullptr;
};

}  // namespace ipcrpc::rpc
