// One direction, or both, of a byte stream: reading and writing that never block and never raise SIGPIPE,
// whatever kind of descriptor it is and whoever shares it.
//
// O_NONBLOCK belongs to the open file description, which an inherited descriptor shares with others: it is
// never set there. Sockets have MSG_DONTWAIT; a pipe is opened anew through /proc/self/fd; anything else, and
// a pipe where that is refused, is asked with poll() before each call.
//
// Writing to a pipe that nobody reads raises SIGPIPE, unless one holds a reader of it oneself: that is what is done here,
// with a descriptor that is never read (and not by opening for both, since a descriptor to write to that is also a
// reader is told of everything it writes). That the peer is gone shows at the other pipe, which nobody writes to any more.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "transport/base/fd.h"
#include "transport/stream/medium.h"

namespace ipcrpc::stream {

class StreamDescriptor {
 public:
  // kOwn, kOwnWrite: a FIFO that the caller has opened O_NONBLOCK and nobody else shares; for kOwnWrite O_RDWR.
  enum class Use { kRead, kWrite, kBoth, kOwn, kOwnWrite };

  StreamDescriptor() = default;
  StreamDescriptor(UniqueFd fd, Use use);

  int fd() const { return fd_.get(); }

  // As read() and write(): -1 with errno, EAGAIN when it would block.
  ssize_t Read(std::byte* to, size_t size) const;
  ssize_t Write(const std::byte* from, size_t size) const;

  // Ends it for everybody who uses it, in both directions. fd() stays a valid descriptor.
  void Hangup();

 private:
  enum class Kind { kSocket, kOwn, kAskFirst };

  void Reopen(Use use);

  UniqueFd fd_;
  UniqueFd reader_;  // so that writing raises no SIGPIPE
  Kind kind_ = Kind::kAskFirst;
  bool may_raise_ = true;
};

// A socket, or a descriptor to read from and one to write to.
class DescriptorMedium final : public Medium {
 public:
  explicit DescriptorMedium(UniqueFd socket) : read_(std::move(socket), StreamDescriptor::Use::kBoth) {}
  DescriptorMedium(StreamDescriptor read, StreamDescriptor write)
      : read_(std::move(read)), write_(std::move(write)) {}

  ssize_t Read(std::byte* to, size_t size) override { return read_.Read(to, size); }
  ssize_t Write(const std::byte* from, size_t size) override {
    return (write_.fd() < 0 ? read_ : write_).Write(from, size);
  }
  int read_fd() const override { return read_.fd(); }
  int write_fd() const override { return write_.fd(); }
  void Hangup() override {
    read_.Hangup();
    write_.Hangup();
  }

 private:
  StreamDescriptor read_;
  StreamDescriptor write_;  // none: read_ is a socket and serves for both
};

// Puts something dead behind the number of a descriptor that another thread may be in a call on.
void KillDescriptor(int fd);

}  // namespace ipcrpc::stream
