// An owned file descriptor. Descriptors are arguments of calls, too, where the transport can pass them: see
// ClientContext::AttachFd() and ServerContext::TakeFds().
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <utility>

namespace ipcrpc {

// How many descriptors can go with one message.
inline constexpr size_t kMaxFdsPerMessage = 16;

// Closes what it holds when it goes. Not thread-safe; moved, never copied.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { reset(); }

  // Another descriptor of the same open file, close-on-exec; invalid, with errno, when there is none to be had. `fd` stays
  // the caller's.
  static UniqueFd DuplicateOf(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace ipcrpc
