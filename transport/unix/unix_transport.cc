#include "transport/unix/unix_transport.h"

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <utility>
#include <vector>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/stream/buffer_size.h"
#include "transport/stream/socket_medium.h"
#include "transport/stream/stream_link.h"
#include "transport/trust.h"
#include "transport/unix_socket.h"

namespace ipcrpc {
namespace {

constexpr UnixSocketKind kKind{SOCK_STREAM, "sock"};
constexpr std::array<std::string_view, 5> kParameters = {"mode", "group", "uid", "buffer", "trust"};
constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .passes_fds = true, .credentials = true, .pollable = true, .detects_death = true};
// Then whoever watches gets to do something else.
constexpr int kAcceptsPerVisit = 64;

std::unique_ptr<Link> MakeLink(UniqueFd fd, const PeerIdentity& peer, const std::string& place, bool trust) {
  return std::make_unique<StreamLink>(
      std::make_unique<stream::SocketMedium>(std::move(fd)),
      StreamLink::Options{
          .capabilities = kCapabilities, .peer = peer, .description = Cat("unix:", place), .trusts_peer = trust && OfOurUid(peer)});
}

// There is no handshake to wait for: the framing is checked with the first bytes, by the link, and silence is
// for the layer above to limit, as with a peer that falls silent later.
class UnixListener final : public Listener {
 public:
  UnixListener(Address address, std::unique_ptr<UnixListenSocket> socket, int buffer, bool trust)
      : address_(std::move(address)), socket_(std::move(socket)), buffer_(buffer), trust_(trust) {}

  const Address& address() const override { return address_; }
  int fd() const override { return socket_->fd(); }

  void OnReadable(const std::function<void(std::unique_ptr<Link>)>& on_link) override {
    for (int i = 0; i < kAcceptsPerVisit && !retired_; ++i) {
      absl::StatusOr<UniqueFd> fd = socket_->Accept();
      if (!fd.ok()) continue;  // that client sees a hang-up
      if (!fd->valid()) return;
      const absl::StatusOr<PeerIdentity> peer = PeerOfUnixSocket(fd->get());
      if (peer.ok() && stream::SetBuffer(fd->get(), buffer_).ok()) on_link(MakeLink(*std::move(fd), *peer, socket_->place(), trust_));
    }
  }

  bool Retire() override {
    retired_ = true;
    return true;
  }
  std::vector<int> handles() const override { return socket_->handles(); }
  absl::Status Own() override { return socket_->Own(); }
  void Abandon() override { socket_->Abandon(); }

 private:
  const Address address_;
  const std::unique_ptr<UnixListenSocket> socket_;
  std::atomic<bool> retired_{false};
  const int buffer_;
  const bool trust_;
};

absl::StatusOr<std::unique_ptr<Listener>> ListenUnix(const Address& address) {
  ASSIGN_OR_RETURN(const int buffer, stream::BufferParameter(address));
  ASSIGN_OR_RETURN(const bool trust, TrustParameter(address));
  ASSIGN_OR_RETURN(std::unique_ptr<UnixListenSocket> socket, UnixListenSocket::Bind(address, kKind));
  // Now rather than with each client: the listening socket's own sizes do not matter.
  RETURN_IF_ERROR(stream::SetBuffer(socket->fd(), buffer));
  return std::make_unique<UnixListener>(address, std::move(socket), buffer, trust);
}

absl::StatusOr<std::unique_ptr<Listener>> AdoptUnix(const Address& address, std::vector<UniqueFd> handles) {
  ASSIGN_OR_RETURN(const int buffer, stream::BufferParameter(address));
  ASSIGN_OR_RETURN(const bool trust, TrustParameter(address));
  ASSIGN_OR_RETURN(std::unique_ptr<UnixListenSocket> socket, UnixListenSocket::Adopt(address, kKind, std::move(handles)));
  return std::make_unique<UnixListener>(address, std::move(socket), buffer, trust);
}

absl::StatusOr<std::unique_ptr<Link>> ConnectUnix(const Address& address, int64_t deadline_ns) {
  ASSIGN_OR_RETURN(const int buffer, stream::BufferParameter(address));
  ASSIGN_OR_RETURN(UnixConnection connection, ConnectUnixSocket(address, kKind, deadline_ns));
  RETURN_IF_ERROR(stream::SetBuffer(connection.fd.get(), buffer));
  ASSIGN_OR_RETURN(const bool trust, TrustParameter(address));
  RETURN_IF_ERROR(CheckTrust(address, connection.peer));
  return MakeLink(std::move(connection.fd), connection.peer, connection.place, trust);
}

}  // namespace

const Scheme& UnixScheme() {
  static constexpr Scheme kScheme = {
      .name = "unix",
      .summary = "byte stream over a Unix socket",
      .capabilities = kCapabilities,
      .parameters = kParameters,
      .automatic = true,
      .listen = ListenUnix,
      .connect = ConnectUnix,
      .adopt = AdoptUnix,
  };
  return kScheme;
}

}  // namespace ipcrpc
