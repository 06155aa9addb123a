#include "transport/netlink/socket.h"

#include <linux/netlink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "transport/base/strings.h"

namespace ipcrpc::netlink {
namespace {

absl::Status SocketError(int error, const std::string& what) {
  const std::string why = Cat(what, ": ", strerror(error));
  switch (error) {
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(Cat(what, ": no file descriptor left (see ulimit -n)"));
    case ENOMEM:
    case ENOBUFS:
      return absl::ResourceExhaustedError(why);
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
    case ENOSYS:
      return absl::FailedPreconditionError(
          Cat(why, " (this kernel, or a filter of system calls, has no netlink sockets of user space; use unix: or fifo:)"));
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(Cat(why, " (a filter of system calls, or a security module, may forbid them)"));
    default:
      return absl::ErrnoToStatus(error, what);
  }
}

sockaddr_nl AddressOf(uint32_t port) {
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_pid = port;
  return address;
}

}  // namespace

absl::StatusOr<Socket> Socket::Make(int buffer_bytes, uint32_t port) {
  Socket made;
  const std::string what = "cannot make a netlink socket";
  made.fd_.reset(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_USERSOCK));
  if (!made.fd_.valid()) return SocketError(errno, what);
  const int on = 1;
  int bytes = 0;
  socklen_t size = sizeof bytes;
  sockaddr_nl address = AddressOf(port);
  socklen_t address_size = sizeof address;
  if (setsockopt(made.fd(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      getsockopt(made.fd(), SOL_SOCKET, SO_RCVBUF, &bytes, &size) != 0) {
    return SocketError(errno, what);
  }
  if (bytes < buffer_bytes) {
    const int half = buffer_bytes / 2;  // the kernel doubles it
    if (setsockopt(made.fd(), SOL_SOCKET, SO_RCVBUF, &half, sizeof half) != 0 ||
        getsockopt(made.fd(), SOL_SOCKET, SO_RCVBUF, &bytes, &size) != 0 || bytes < buffer_bytes) {
      return absl::ResourceExhaustedError(Cat(what, ": its receive buffer may have ", bytes, " bytes only, and needs ", buffer_bytes,
                                              "; raise net.core.rmem_max (sysctl) to ", half));
    }
  }
  if (bind(made.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      getsockname(made.fd(), reinterpret_cast<sockaddr*>(&address), &address_size) != 0) {
    return SocketError(errno, what);
  }
  made.port_ = address.nl_pid;
  return made;
}

bool Socket::Connect(uint32_t port) const {
  const sockaddr_nl address = AddressOf(port);
  return connect(fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

int Socket::Send(uint32_t port, uint16_t type, const void* from, size_t size) const {
  sockaddr_nl to = AddressOf(port);
  nlmsghdr header = {};
  header.nlmsg_len = static_cast<uint32_t>(sizeof header + size);
  header.nlmsg_type = type;
  iovec pieces[] = {{.iov_base = &header, .iov_len = sizeof header}, {.iov_base = const_cast<void*>(from), .iov_len = size}};
  // By itself the kernel would name the real uid.
  const ucred self = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof self)] = {};
  msghdr message = {};
  message.msg_name = &to;
  message.msg_namelen = sizeof to;
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* credentials = CMSG_FIRSTHDR(&message);
  credentials->cmsg_level = SOL_SOCKET;
  credentials->cmsg_type = SCM_CREDENTIALS;
  credentials->cmsg_len = CMSG_LEN(sizeof self);
  std::memcpy(CMSG_DATA(credentials), &self, sizeof self);
  while (true) {
    if (sendmsg(fd(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return -1;
  }
}

bool Socket::Receive(Datagram& datagram, void* to, size_t room) const {
  while (true) {
    sockaddr_nl from = {};
    nlmsghdr header = {};
    iovec pieces[] = {{.iov_base = &header, .iov_len = sizeof header}, {.iov_base = to, .iov_len = room}};
    alignas(cmsghdr) char control[256];
    msghdr message = {};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = pieces;
    message.msg_iovlen = 2;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(fd(), &message, MSG_DONTWAIT);
    // ENOBUFS speaks of multicasts; what is sent to one port is refused to its sender, not lost.
    if (got < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
    if (got < 0) return false;
    datagram.sender = {.pid = 0, .uid = static_cast<uid_t>(-1), .gid = static_cast<gid_t>(-1)};
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS) {
        std::memcpy(&datagram.sender, CMSG_DATA(part), sizeof datagram.sender);
      }
    }
    if (static_cast<size_t>(got) < sizeof header || datagram.sender.pid == 0) continue;
    datagram.type = header.nlmsg_type;
    datagram.size = static_cast<size_t>(got) - sizeof header;
    datagram.port = from.nl_pid;
    return true;
  }
}

uint64_t Namespace() {
  struct stat info;
  return stat("/proc/self/ns/net", &info) == 0 ? info.st_ino : 0;
}

bool HasSocket(pid_t pid, int fd, uint32_t port) {
  struct stat info;
  if (stat(Cat("/proc/", pid, "/fd/", fd).c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  // A heading, then a line for each: sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode, where Eth is the protocol.
  std::ifstream table("/proc/net/netlink");
  std::string line, ignored;
  std::getline(table, line);
  int protocol;
  int64_t bound_to;
  uint64_t inode;
  while (table >> ignored >> protocol >> bound_to >> ignored >> ignored >> ignored >> ignored >> ignored >> ignored >> inode) {
    if (protocol == NETLINK_USERSOCK && static_cast<uint32_t>(bound_to) == port) return inode == info.st_ino;
  }
  return false;
}

}  // namespace ipcrpc::netlink
