// A stream socket of the unix family, which carries descriptors beside the bytes.
#pragma once

#include <cstddef>
#include <span>

#include "transport/base/fd.h"
#include "transport/stream/medium.h"

namespace ipcrpc::stream {

class SocketMedium final : public Medium {
 public:
  explicit SocketMedium(UniqueFd socket) : socket_(std::move(socket)) {}

  ssize_t Read(std::byte* to, size_t size) override;
  ssize_t Write(const std::byte* from, size_t size) override;
  ssize_t WriteWithFds(const std::byte* from, size_t size, std::span<const UniqueFd> fds) override;
  FdQueue* arrived_fds() override { return &arrived_; }
  int read_fd() const override { return socket_.get(); }
  void Hangup() override;

 private:
  // A read ends behind the bytes that descriptors came with, and all frames that were whole before it have been delivered: so
  // there are those of the frame that it completes, and those of the one that it begins.
  static constexpr size_t kMaxParcels = 2;

  const UniqueFd socket_;
  FdQueue arrived_{kMaxParcels};
  bool flooded_ = false;
};

}  // namespace ipcrpc::stream
