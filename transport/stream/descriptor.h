// One direction, or both, of a byte stream: reading and writing that never block and never raise SIGPIPE,
// whatever kind of descriptor it is and whoever shares it.
//
// O_NONBLOCK belongs to the open file description, which an inherited descriptor shares with others: it is
// never set there. Sockets have MSG_DONTWAIT; a pipe is opened anew through /proc/self/fd; anything else, and
// a pipe where that is refused, is asked with poll() before each call.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "transport/base/fd.h"

namespace ipcrpc::stream {

class StreamDescriptor {
 public:
  enum class Use { kRead, kWrite, kBoth };

  StreamDescriptor() = default;
  StreamDescriptor(UniqueFd fd, Use use);

  int fd() const { return fd_.get(); }

  // As read() and write(): -1 with errno, EAGAIN when it would block.
  ssize_t Read(std::byte* to, size_t size) const;
  ssize_t Write(const std::byte* from, size_t size) const;

  // Ends it for everybody who uses it, in both directions. fd() stays a valid descriptor.
  void Hangup();

 private:
  enum class Kind { kSocket, kNonBlocking, kAskFirst };

  UniqueFd fd_;
  Kind kind_ = Kind::kAskFirst;
};

}  // namespace ipcrpc::stream
