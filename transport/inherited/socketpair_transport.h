// The scheme `socketpair:N`: a stream over the inherited unix socket N, connected to the peer from the start.
//
// Who is at the other end: SO_PEERCRED would name whoever made the pair, often the parent of both. So each end
// greets the other before its stream begins, with 8 bytes ("ipcC", version 1, three zero bytes) that carry its
// SCM_CREDENTIALS, which the kernel has checked: pid, uid and gid of the process that greets, as of that
// moment (a privileged one may name others). An end that is handed on after its greeting keeps that identity, as a
// connected socket does; whoever has the end can also pass it on, so it tells who speaks, not who listens in.
// A peer that we see no pid of, in another PID namespace, has pid 0.
//
// Parameter: buffer=BYTES, the size of the socket's buffers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/link.h"
#include "transport/peer.h"
#include "transport/scheme.h"

namespace ipcrpc {

const Scheme& SocketpairScheme();

// One end while the greetings are exchanged. Also for who has made the pair himself.
class SocketpairGreeter {
 public:
  // Sends our greeting on a connected stream socket of the unix family. UNAVAILABLE: the peer is gone, or takes nothing.
  static absl::StatusOr<std::unique_ptr<SocketpairGreeter>> Start(UniqueFd socket, const std::string& description);

  // Readable when Finish() has something to say.
  int fd() const { return socket_.get(); }
  // The link, once the peer's greeting has come, and then this is of no more use; null before. UNAVAILABLE: the peer hung up;
  // INTERNAL: it speaks something else. `epitaph`: StreamLink::Options.
  absl::StatusOr<std::unique_ptr<Link>> Finish(std::function<std::string()> epitaph = {});

 private:
  static constexpr size_t kGreetingBytes = 8;

  SocketpairGreeter(UniqueFd socket, const std::string& description) : description_(description), socket_(std::move(socket)) {}
  absl::Status Send();

  const std::string description_;
  UniqueFd socket_;
  std::array<uint8_t, kGreetingBytes> received_ = {};
  size_t received_bytes_ = 0;
  PeerIdentity peer_;
};

}  // namespace ipcrpc
