// What carries the bytes of a StreamLink: a pair of descriptors (descriptor.h), or of message queues, where each
// message holds the next piece of the stream. So frames larger than a message are split and joined for nothing,
// and every mechanism has the same checks.
//
// Read() and Arm() are called by the holder of the link's receive role, Write() by one thread at a time, Hangup()
// once, by any thread, with no Write() under way; the descriptors are constant.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

#include "transport/base/fd.h"
#include "transport/fd_queue.h"

namespace ipcrpc::stream {

class Medium {
 public:
  virtual ~Medium() = default;

  // As read() and write(): they never block; -1 with errno, EAGAIN when it would; Read() is 0 at the end, again and
  // again, which comes behind everything that the peer wrote.
  virtual ssize_t Read(std::byte* to, size_t size) = 0;
  virtual ssize_t Write(const std::byte* from, size_t size) = 0;

  // Where descriptors can go with the bytes. As Write(), the descriptors with the first of them.
  virtual ssize_t WriteWithFds(const std::byte* /*from*/, size_t /*size*/, std::span<const UniqueFd> /*fds*/) { return -1; }
  // Those that Read() has had; null where none can come. Of too many Read() fails with EPROTO, from then on.
  virtual FdQueue* arrived_fds() { return nullptr; }

  // The least room to give Read(): the size of a message.
  virtual size_t read_unit() const { return 1; }
  // Whether a Read() of `got` bytes into room for `asked` most likely took all there was.
  virtual bool Drained(size_t got, size_t asked) const { return got < asked; }

  // Readable (POLLIN) when Read() has something; and -1 or, when it is another one, writable when Write() takes
  // something.
  virtual int read_fd() const = 0;
  virtual int write_fd() const { return -1; }
  // Before a sleep on read_fd(). False: Read() has something.
  virtual bool Arm() { return true; }
  // Undoes Arm(), where that has somebody else read: until the next Arm() Read() says EAGAIN only when nothing is there.
  // For whoever takes that for the end, as the peer is gone.
  virtual void Disarm() {}

  // -1, or readable when the peer may have died: then PeerDied() says whether. For mechanisms whose read_fd() does
  // not tell by a hang-up.
  virtual int death_fd() const { return -1; }
  virtual bool PeerDied() { return true; }

  // Ends both directions, for the peer too. The descriptors stay valid numbers.
  virtual void Hangup() = 0;
};

}  // namespace ipcrpc::stream
