// A netlink socket of user space: bound to a port id, which is its address in its network namespace. The kernel tells of each
// datagram from which port and by whom it was sent.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"

namespace ipcrpc::netlink {

enum Type : uint16_t {
  // Those below 16 are the kernel's.
  kAsk = 16,
  kData = 17,
  kEnd = 18,        // no bytes: the sender has closed
  kWantSpace = 19,  // no bytes: the window is used up; answer when you get here
  kSpace = 20,      // no bytes: that answer
  kTaken = 21,      // u64: so many data messages were read
};

struct Datagram {
  uint16_t type = 0;
  size_t size = 0;  // of what was received; what is longer than the room was cut off
  uint32_t port = 0;
  ucred sender = {};
};

class Socket {
 public:
  // `port` 0: the kernel's choice. RESOURCE_EXHAUSTED when its receive buffer may not have that many bytes.
  static absl::StatusOr<Socket> Make(int buffer_bytes, uint32_t port = 0);
  Socket() = default;

  int fd() const { return fd_.get(); }
  uint32_t port() const { return port_; }
  // From here on the kernel lets nobody else send to it.
  bool Connect(uint32_t port) const;

  // Without blocking: 0, or -1 with errno. EAGAIN: the receiver's buffer is full; ECONNREFUSED: nobody is there.
  int Send(uint32_t port, uint16_t type, const void* from, size_t size) const;
  // Without blocking: false with errno.
  bool Receive(Datagram& datagram, void* to, size_t room) const;

 private:
  UniqueFd fd_;
  uint32_t port_ = 0;
};

// The network namespace that we are in, as its inode; 0: unknown.
uint64_t Namespace();
// Whether descriptor `fd` of process `pid` is seen to be the socket that is bound to `port`.
bool HasSocket(pid_t pid, int fd, uint32_t port);

}  // namespace ipcrpc::netlink
