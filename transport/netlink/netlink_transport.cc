#include "transport/netlink/netlink_transport.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/netlink/socket.h"
#include "transport/rendezvous/queue_medium.h"
#include "transport/stream/descriptor.h"
#include "transport/stream/framing.h"

namespace ipcrpc {
namespace {

using netlink::Datagram;
using netlink::Socket;
using rendezvous::Access;
using rendezvous::End;
using rendezvous::Token;

constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .credentials = true, .pollable = true, .detects_death = true};

constexpr size_t kMessageBytes = 2048;  // the room that a StreamLink has at least
// How many data messages may be on the way: they fit into the receive buffer, where each takes a kernel's buffer of twice its
// size at most; and there is room for the few without bytes.
constexpr uint64_t kWindow = 32;
constexpr int kBufferBytes = static_cast<int>((kWindow + 4) * (2 * kMessageBytes + 512));
constexpr int kPlaceBufferBytes = 64 * 1024;

// Asks, from whomever the place's mode lets in.
class PlaceMedium final : public stream::Medium {
 public:
  // A client's has the port to ask at.
  PlaceMedium(Socket socket, Access access, uint32_t port) : socket_(std::move(socket)), access_(access), port_(port) {}

  ssize_t Read(std::byte* to, size_t size) override {
    while (true) {
      Datagram datagram;
      if (!socket_.Receive(datagram, to, size)) return -1;
      if (datagram.type == netlink::kAsk && datagram.size > 0 && datagram.size <= size && MayAsk(datagram.sender)) {
        return static_cast<ssize_t>(datagram.size);
      }
    }
  }
  ssize_t Write(const std::byte* from, size_t size) override {
    return socket_.Send(port_, netlink::kAsk, from, size) == 0 ? static_cast<ssize_t>(size) : -1;
  }
  int read_fd() const override { return socket_.fd(); }
  void Hangup() override { stream::KillDescriptor(socket_.fd()); }

 private:
  bool MayAsk(const ucred& sender) const {
    if (sender.uid == 0 || sender.uid == geteuid()) return true;
    const bool in_group = sender.gid == access_.group.value_or(getegid());
    return (access_.mode & (in_group ? 0020 : 0002)) != 0;
  }

  const Socket socket_;
  const Access access_;
  const uint32_t port_;
};

// Who sends to us.
struct Peer {
  uint32_t port = 0;
  pid_t pid = 0;
  uid_t uid = 0;
};

// Messages of the stream, both ways.
//
// A netlink socket does not tell when the receiver's buffer has room again. So the sender counts: kWindow messages at most
// are on the way, which fit; the reader says how many it has read (kTaken), to a socket of its own, where a sender
// finds that even while the stream before it is not to be read. A sender without anything left of its window says so
// (kWantSpace) behind what it has sent; the reader that comes to that answers on the stream (kSpace), and so wakes it.
// Then write_fd(), an eventfd filled up so that it is not writable, is emptied.
class NetlinkMedium final : public rendezvous::QueueMedium {
 public:
  // `first`: the uid that the first message has to be from; none: from anybody who can prove himself.
  NetlinkMedium(Socket data, Socket taken, std::optional<uid_t> first)
      : QueueMedium(kMessageBytes, kWindow), data_(std::move(data)), taken_(std::move(taken)), first_uid_(first),
        space_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  uint32_t data_port() const { return data_.port(); }
  uint32_t taken_port() const { return taken_.port(); }
  const Peer& peer() const { return peer_; }

  // Nobody else is listened to from here on.
  absl::Status Connect(const Peer& peer, uint32_t taken_port) {
    peer_ = peer;
    peer_taken_port_ = taken_port;
    connected_ = data_.Connect(peer.port) && taken_.Connect(peer.port);
    return connected_ ? absl::OkStatus() : absl::ErrnoToStatus(errno, Cat("cannot connect to netlink port ", peer.port));
  }

  ssize_t Write(const std::byte* from, size_t size) override {
    if (sent_.load(std::memory_order_relaxed) - read_by_peer_.load(std::memory_order_acquire) >= kWindow) HearWhatWasTaken();
    if (sent_.load(std::memory_order_relaxed) - read_by_peer_.load(std::memory_order_acquire) >= kWindow) return WantSpace();
    const size_t piece = std::min(size, kMessageBytes);
    sent_.fetch_add(1, std::memory_order_release);  // before the peer can say that it has read it
    if (data_.Send(peer_.port, netlink::kData, from, piece) == 0) return static_cast<ssize_t>(piece);
    sent_.fetch_sub(1, std::memory_order_release);
    if (errno == EAGAIN || errno == ENOBUFS) errno = EPIPE;  // its buffer is not what it has to be, or it was not read as said
    return -1;
  }
  int read_fd() const override { return data_.fd(); }
  int write_fd() const override { return space_event_.get(); }

 private:
  ssize_t WantSpace() {
    if (!wants_space_.load(std::memory_order_acquire)) {
      wants_space_.store(true, std::memory_order_release);
      eventfd_write(space_event_.get(), std::numeric_limits<uint64_t>::max() - 1);
      if (data_.Send(peer_.port, netlink::kWantSpace, nullptr, 0) != 0) {
        if (errno == EAGAIN) errno = EPIPE;
        return -1;
      }
    }
    errno = EAGAIN;
    return -1;
  }

  // By whoever sends or receives.
  void HearWhatWasTaken() {
    Datagram datagram;
    uint64_t count = 0;
    while (taken_.Receive(datagram, &count, sizeof count)) {
      if (!IsPeer(datagram) || datagram.type != netlink::kTaken || datagram.size != sizeof count) continue;
      uint64_t before = read_by_peer_.load(std::memory_order_relaxed);
      while (count > before && count <= sent_.load(std::memory_order_acquire) &&
             !read_by_peer_.compare_exchange_weak(before, count, std::memory_order_acq_rel)) {
      }
    }
  }
  // What cannot be told now is told with the next one.
  void TellWhatWasTaken() { data_.Send(peer_taken_port_, netlink::kTaken, &taken_count_, sizeof taken_count_); }

  bool IsPeer(const Datagram& datagram) const {
    return datagram.port == peer_.port && datagram.sender.pid == peer_.pid && datagram.sender.uid == peer_.uid;
  }

  ssize_t Receive(std::byte* to, size_t size) override {
    while (true) {
      Datagram datagram;
      if (!data_.Receive(datagram, to, size)) return -1;
      if (!connected_) {
        // The proof. One that does not prove anything ends the pair, so a stranger's is not looked at.
        if (datagram.type != netlink::kData || (first_uid_ && datagram.sender.uid != *first_uid_ &&
                                                datagram.sender.uid != 0)) {
            continue;
          }
        peer_ = {.port = datagram.port, .pid = datagram.sender.pid, .uid = datagram.sender.uid};
      } else if (datagram.port != peer_.port) {
        continue;  // from before the proof
      } else if (!IsPeer(datagram)) {
        return 0;  // the peer has gone, and somebody has got its port
      }
      switch (datagram.type) {
        case netlink::kData:
          if (++taken_count_ % (kWindow / 2) == 0) TellWhatWasTaken();
          if (datagram.size == 0) break;
          return static_cast<ssize_t>(std::min(datagram.size, size));
        case netlink::kEnd:
          return 0;
        case netlink::kWantSpace:
          TellWhatWasTaken();
          data_.Send(peer_.port, netlink::kSpace, nullptr, 0);
          break;
        case netlink::kSpace: {
          HearWhatWasTaken();
          if (!wants_space_.load(std::memory_order_acquire)) break;
          // In this order: a writer that fails in between finds write_fd() writable, and comes again.
          eventfd_t ignored;
          eventfd_read(space_event_.get(), &ignored);
          wants_space_.store(false, std::memory_order_release);
          break;
        }
        default:
          break;
      }
    }
  }
  bool SendEnd() override { return data_.Send(peer_.port, netlink::kEnd, nullptr, 0) == 0; }
  void Dispose(bool) override {
    stream::KillDescriptor(data_.fd());
    stream::KillDescriptor(taken_.fd());
  }

  const Socket data_;
  const Socket taken_;  // hears how many of ours were read
  const std::optional<uid_t> first_uid_;
  Peer peer_;
  uint32_t peer_taken_port_ = 0;
  bool connected_ = false;
  uint64_t taken_count_ = 0;  // receive role
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> read_by_peer_{0};
  const UniqueFd space_event_;
  std::atomic<bool> wants_space_{false};
};

absl::StatusOr<std::unique_ptr<NetlinkMedium>> MakeMedium(std::optional<uid_t> first) {
  ASSIGN_OR_RETURN(Socket data, Socket::Make(kBufferBytes));
  ASSIGN_OR_RETURN(Socket taken, Socket::Make(0));
  return std::make_unique<NetlinkMedium>(std::move(data), std::move(taken), first);
}

NetlinkMedium& MediumOf(const End& end) { return static_cast<NetlinkMedium&>(*end.medium); }

class Netlink final : public rendezvous::Mechanism {
 public:
  rendezvous::Kind kind() const override { return rendezvous::Kind::kNetlink; }
  std::string_view scheme() const override { return "netlink"; }
  const Capabilities& capabilities() const override { return kCapabilities; }

  // A port that no process has for its pid, and not one of those that the kernel chooses; and where it means that.
  std::string NewReference(std::string_view) const override {
    uint32_t random;
    const Token token = rendezvous::RandomToken();
    std::memcpy(&random, token.data(), sizeof random);
    return Cat((random & 0x3fff'ffff) | 0x4000'0000, " ", netlink::Namespace());
  }

  absl::StatusOr<std::unique_ptr<stream::Medium>> MakePlace(const std::string&, const std::string& reference,
                                                            const Access& access) const override {
    ASSIGN_OR_RETURN(Socket socket, Socket::Make(kPlaceBufferBytes, ParsePlace(reference)->port));
    return std::make_unique<PlaceMedium>(std::move(socket), access, 0);
  }

  absl::StatusOr<std::unique_ptr<stream::Medium>> OpenPlace(const std::string& path,
                                                            const std::string& reference) const override {
    const std::optional<Place> place = ParsePlace(reference);
    if (!place) return absl::FailedPreconditionError(Cat(path, " does not name a netlink port"));
    if (place->network != netlink::Namespace()) {
      return absl::FailedPreconditionError(
          Cat(path, ": its server is in another network namespace, where netlink: does not reach; use unix: or fifo:"));
    }
    ASSIGN_OR_RETURN(Socket socket, Socket::Make(0));
    return std::make_unique<PlaceMedium>(std::move(socket), Access{}, place->port);
  }

  // Ports are gone with their sockets.
  void RemovePlace(const std::string&, const std::string&, uid_t) const override {}
  void RemovePair(const std::string&, const Token&, uid_t) const override {}

  absl::StatusOr<End> MakePair(const std::string&, const Token&, const Access& access) const override {
    std::optional<uid_t> first = access.owner;
    if (!first && (access.mode & 0066) == 0) first = geteuid();
    ASSIGN_OR_RETURN(std::unique_ptr<NetlinkMedium> medium, MakeMedium(first));
    End end;
    end.welcome.numbers[0] = medium->data_port();
    end.welcome.numbers[1] = medium->taken_port();
    end.welcome.numbers[2] = geteuid();
    end.medium = std::move(medium);
    return end;
  }

  absl::StatusOr<End> OpenPair(const std::string&, const Token&, const rendezvous::Welcome& welcome) const override {
    ASSIGN_OR_RETURN(std::unique_ptr<NetlinkMedium> medium, MakeMedium(std::nullopt));
    RETURN_IF_ERROR(medium->Connect({.port = welcome.numbers[0], .pid = welcome.pid, .uid = welcome.numbers[2]},
                                    welcome.numbers[1]));
    End end;
    end.proof.fd = medium->read_fd();
    end.proof.number = medium->taken_port();
    end.medium = std::move(medium);
    return end;
  }

  absl::Status Accept(End& ours, const rendezvous::Proof& proof) const override {
    NetlinkMedium& medium = MediumOf(ours);
    return medium.Connect(medium.peer(), static_cast<uint32_t>(proof.number));
  }

  bool IsHeldBy(const End& ours, const rendezvous::Proof& proof, pid_t pid) const override {
    const Peer& peer = MediumOf(ours).peer();
    return peer.pid == pid && netlink::HasSocket(pid, proof.fd, peer.port);
  }

  void Watch(End& ours, std::unique_ptr<rendezvous::PeerWatch> watch) const override {
    MediumOf(ours).Watch(std::move(watch));
  }

 private:
  struct Place {
    uint32_t port;
    uint64_t network;  // namespace
  };
  static std::optional<Place> ParsePlace(std::string_view reference) {
    const size_t space = reference.find(' ');
    if (space == reference.npos) return std::nullopt;
    const std::optional<uint32_t> port = ParseNumber<uint32_t>(reference.substr(0, space));
    const std::optional<uint64_t> network = ParseNumber<uint64_t>(reference.substr(space + 1));
    if (!port || *port == 0 || !network) return std::nullopt;
    return Place{.port = *port, .network = *network};
  }
};

}  // namespace

const rendezvous::Mechanism& NetlinkMechanism() {
  static const Netlink mechanism;
  return mechanism;
}

Scheme NetlinkScheme() {
  return {
      .name = "netlink",
      .summary = "netlink sockets of user space, a pair for each client",
      .capabilities = kCapabilities,
      .parameters = rendezvous::kParameters,
      .listen = [](const Address& address) { return rendezvous::ListenAt(NetlinkMechanism(), address); },
      .connect = [](const Address& address,
                    int64_t deadline_ns) { return rendezvous::ConnectTo(NetlinkMechanism(), address, deadline_ns); },
  };
}

}  // namespace ipcrpc
