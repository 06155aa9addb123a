// Unix sockets under the names that addresses stand for: what the schemes `unix` (SOCK_STREAM) and `shm`
// (SOCK_SEQPACKET, its control socket) share. Which file, lock and directory that is: transport/names.h.
//
// Parameters of an address that are understood here:
//   server   mode=0666   permissions of the socket file, octal; 0600 when left out
//            group=NAME  group of the socket file, by name or number
//   client   uid=NAME    a further uid, by name or number, to believe (beside root and oneself)
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/base/fd.h"
#include "transport/peer.h"

namespace ipcrpc {

// The kind of socket that a scheme uses. A constant of the scheme.
struct UnixSocketKind {
  int type;                 // SOCK_STREAM or SOCK_SEQPACKET
  std::string_view suffix;  // of the file of a plain name: "sock", "shm". Paths and abstract names are
                            // taken as they are.
};

// A listening socket and its name. The name and its lock go when this goes (not in a forked child).
// Any thread may call; Accept() by one at a time.
class UnixListenSocket {
 public:
  // Binds and listens. A name that a dead process left is taken over at once. Before, what else the dead
  // left in the runtime directory is swept (plain names only).
  // INVALID_ARGUMENT: bad parameter, or a path that cannot be bound; ALREADY_EXISTS: somebody alive has the
  // name (the message names the pid), or the file is no socket; FAILED_PRECONDITION: no runtime
  // directory; PERMISSION_DENIED: not allowed to make it there.
  static absl::StatusOr<std::unique_ptr<UnixListenSocket>> Bind(const Address& address, UnixSocketKind kind);
  // Binds and listens at a place beside a name whose lock the caller holds: a file (0600), or "@abstract".
  static absl::StatusOr<std::unique_ptr<UnixListenSocket>> BindBeside(const std::string& place, int type);
  ~UnixListenSocket();

  // ---- hot restart, see transport/takeover/ ----

  // What a successor needs to listen in our place: the socket, and the lock where the name has one. Borrowed.
  std::vector<int> handles() const;
  // Listens with the handles of another process, which goes on listening with them too. FAILED_PRECONDITION: they are not
  // those of this address. The socket alone, of a name with a lock, is one of a process that keeps it and serves nobody: the lock is
  // taken, with the errors of Bind(), and the file has the permissions that it has.
  static absl::StatusOr<std::unique_ptr<UnixListenSocket>> Adopt(const Address& address, UnixSocketKind kind,
                                                                 std::vector<UniqueFd> handles);
  static absl::StatusOr<std::unique_ptr<UnixListenSocket>> AdoptBeside(const std::string& place, int type, UniqueFd socket);
  // Has the kernel and the lock file name this process as the one that listens: after Adopt(), or when a successor did
  // so and failed.
  absl::Status Own();
  // Another process listens here now: the name and its lock stay when this goes.
  void Abandon();

  UnixListenSocket(const UnixListenSocket&) = delete;
  UnixListenSocket& operator=(const UnixListenSocket&) = delete;

  // Non-blocking, close-on-exec; readable when somebody waits to be accepted.
  int fd() const;
  // "/run/ipcrpc/monitor.sock" or "@abstract".
  const std::string& place() const;

  // The next connection: close-on-exec and blocking, so use MSG_DONTWAIT. An invalid fd when nobody waits.
  // At the process's limit of descriptors the connection is closed and RESOURCE_EXHAUSTED returned; any
  // error concerns one connection, and the next call may do better.
  absl::StatusOr<UniqueFd> Accept();

 private:
  struct State;
  explicit UnixListenSocket(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// A connected socket of a client.
struct UnixConnection {
  UniqueFd fd;        // close-on-exec and blocking: use MSG_DONTWAIT
  PeerIdentity peer;  // of the server, checked
  std::string place;  // what was connected to: "/run/ipcrpc/monitor.sock" or "@abstract"
};

// Connects: a plain name is searched for in each runtime directory. Waits only for a full backlog.
// UNAVAILABLE: nobody is there (the message lists every place tried); PERMISSION_DENIED: the file may not be
// opened, or the server's uid is not root's, our own or the one of `?uid=`; DEADLINE_EXCEEDED;
// FAILED_PRECONDITION: a socket of another type is there; INVALID_ARGUMENT: bad `?uid=`.
absl::StatusOr<UnixConnection> ConnectUnixSocket(const Address& address, UnixSocketKind kind,
                                                 int64_t deadline_ns);

// Who is at the other end of a connected unix socket (SO_PEERCRED, SO_PEERGROUPS).
absl::StatusOr<PeerIdentity> PeerOfUnixSocket(int fd);

}  // namespace ipcrpc
