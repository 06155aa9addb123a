#include "transport/stream/socket_medium.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "transport/base/scm_rights.h"
#include "transport/base/status_macros.h"

namespace ipcrpc::stream {

ssize_t SocketMedium::Read(std::byte* to, size_t size) {
  if (flooded_) {
    errno = EPROTO;
    return -1;
  }
  iovec bytes = {.iov_base = to, .iov_len = size};
  ArrivedFds came;
  const ssize_t got = ReceiveWithFds(socket_.get(), {&bytes, 1}, &came);
  if (!came.any() || arrived_.Push(std::move(came))) return got;
  flooded_ = true;
  errno = EPROTO;
  return -1;
}

ssize_t SocketMedium::Write(const std::byte* from, size_t size) {
  while (true) {
    const ssize_t sent = send(socket_.get(), from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0 || errno != EINTR) return sent;
  }
}

ssize_t SocketMedium::WriteWithFds(const std::byte* from, size_t size, std::span<const UniqueFd> fds) {
  IPCRPC_CHECK(fds.size() <= kMaxFdsPerMessage);
  int numbers[kMaxFdsPerMessage];
  for (size_t i = 0; i < fds.size(); ++i) numbers[i] = fds[i].get();
  iovec bytes = {.iov_base = const_cast<std::byte*>(from), .iov_len = size};
  return SendWithFds(socket_.get(), {&bytes, 1}, {numbers, fds.size()});
}

void SocketMedium::Hangup() { shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace ipcrpc::stream
