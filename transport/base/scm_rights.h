// Descriptors beside bytes on a unix socket.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <span>
#include <vector>

#include "transport/base/fd.h"

namespace ipcrpc {

// As sendmsg(), which neither blocks nor raises SIGPIPE: the descriptors, at most kMaxFdsPerMessage and perhaps none, go with
// the first of the bytes.
ssize_t SendWithFds(int socket, std::span<iovec> bytes, std::span<const int> fds);

// What came with the bytes of one message.
struct ArrivedFds {
  std::vector<UniqueFd> fds;  // close-on-exec
  bool too_many = false;      // there were more than kMaxFdsPerMessage
  bool lost = false;          // not all could be had: the process is at its limit of open files
  bool bytes_cut = false;     // a datagram was longer than the room for it

  bool any() const { return !fds.empty() || lost; }
};

// As recvmsg(), which does not block. `arrived` is filled when it is not negative.
ssize_t ReceiveWithFds(int socket, std::span<iovec> bytes, ArrivedFds* arrived);

// Closes what a peer has sent. That may take as long as whoever serves the file likes (a FUSE daemon is asked), so a thread
// is made for it.
void CloseElsewhere(std::vector<UniqueFd> fds);

}  // namespace ipcrpc
