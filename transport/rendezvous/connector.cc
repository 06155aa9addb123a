// The client's side of the rendezvous: finds the place, asks, and takes what is made for it.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/process.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/rendezvous/place.h"
#include "transport/stream/stream_link.h"

namespace ipcrpc::rendezvous {
namespace {

// As long as a server keeps what it has made for one that asked.
constexpr int64_t kHandshakeNs = 5'000'000'000;
// Nobody tells when the file is there; the server is quick, or it is busy and then so are we not to be.
constexpr int64_t kFirstPauseNs = 20'000;
constexpr int64_t kLongestPauseNs = 1'000'000;

class Pause {
 public:
  explicit Pause(int64_t deadline_ns) : deadline_ns_(deadline_ns) {}
  // False: the time is up.
  bool Sleep() {
    if (MonotonicNs() >= deadline_ns_) return false;
    const timespec pause = ToTimespec(ns_);
    nanosleep(&pause, nullptr);
    ns_ = std::min(2 * ns_, kLongestPauseNs);
    return true;
  }

 private:
  const int64_t deadline_ns_;
  int64_t ns_ = kFirstPauseNs;
};

class Connector {
 public:
  Connector(const Mechanism& mechanism, FoundPlace place, int64_t deadline_ns)
      : mechanism_(mechanism), place_(std::move(place)), token_(RandomToken()), stem_(StemOf(place_.base, token_)),
        pause_(deadline_ns) {}

  absl::StatusOr<std::unique_ptr<Link>> Connect();

 private:
  bool ServerLeft() const;
  absl::Status ServerWent() const;
  absl::Status SendAsk();
  absl::StatusOr<Welcome> AwaitWelcome();
  absl::StatusOr<bool> OpenWelcome();  // false: it is not there yet
  absl::Status Refusal(const Welcome& welcome) const;
  PeerIdentity ServerIdentity(const Welcome& welcome) const;

  const Mechanism& mechanism_;
  const FoundPlace place_;
  const Token token_;
  const std::string stem_;
  Pause pause_;
  std::unique_ptr<stream::Medium> asking_;
  UniqueFd file_;
};

absl::StatusOr<std::unique_ptr<Link>> Connector::Connect() {
  ASSIGN_OR_RETURN(asking_, mechanism_.OpenPlace(place_.path, place_.reference));
  RETURN_IF_ERROR(SendAsk());
  ASSIGN_OR_RETURN(const Welcome welcome, AwaitWelcome());
  ASSIGN_OR_RETURN(End end, mechanism_.OpenPair(stem_, token_, welcome));
  UniqueFd life;
  if (mechanism_.wants_watch()) life = OpenLifeFifo(stem_, Side::kClient);
  const PeerIdentity peer = ServerIdentity(welcome);
  // All that tells of the server's death is open now; so if it lives still, that is heard of. A process that dies closes
  // one thing after another: each is asked.
  bool gone = !Alive(file_.get(), Side::kServer);
  if (mechanism_.wants_watch()) {
    auto watch = std::make_unique<PeerWatch>(std::move(file_), Side::kClient, std::move(life), peer.pid);
    gone |= watch->Died() || watch->PeerLeft();
    mechanism_.Watch(end, std::move(watch));
  }
  if (gone) return ServerWent();
  Proof proof = end.proof;
  proof.nonce = welcome.nonce;
  if (end.medium->Write(reinterpret_cast<const std::byte*>(&proof), sizeof proof) != sizeof proof) {
    return absl::UnavailableError(Cat(place_.path, ": cannot send the proof: ", strerror(errno)));
  }
  return std::make_unique<StreamLink>(std::move(end.medium),
                                      StreamLink::Options{.capabilities = mechanism_.capabilities(),
                                                          .peer = peer,
                                                          .description = Cat(mechanism_.scheme(), ":", place_.path)});
}

// The lock on the file of the place tells, or that nobody reads the FIFO.
bool Connector::ServerLeft() const {
  if (place_.file.valid()) return !Alive(place_.file.get(), Side::kServer);
  pollfd ask = {.fd = asking_->write_fd(), .events = 0, .revents = 0};
  return poll(&ask, 1, 0) == 1;
}

absl::Status Connector::ServerWent() const {
  return absl::UnavailableError(Cat(place_.path, ": its server went while we connected"));
}

absl::Status Connector::SendAsk() {
  Ask ask;
  ask.token = token_;
  ask.uid = geteuid();
  ask.gid = getegid();
  ask.pid = getpid();
  ask.pid_namespace = PidNamespace();
  ask.check = CheckOf(ask);
  while (asking_->Write(reinterpret_cast<const std::byte*>(&ask), sizeof ask) != sizeof ask) {
    if (errno != EAGAIN) return absl::UnavailableError(Cat(place_.path, ": ", strerror(errno)));
    if (ServerLeft()) return ServerWent();
    if (!pause_.Sleep()) {
      return absl::DeadlineExceededError(Cat(place_.path, ": its server does not take what it is asked (its queue is full)"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Connector::OpenWelcome() {
  if (file_.valid()) return true;
  UniqueFd file(open(stem_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) {
    // Refused until it is given to us, or for good: the deadline tells.
    if (errno == ENOENT || errno == EACCES) return false;
    return absl::UnavailableError(Cat(stem_, ": ", strerror(errno)));
  }
  struct stat info;
  if (fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) ||
      (info.st_uid != geteuid() && info.st_uid != place_.owner)) {
    return absl::PermissionDeniedError(Cat(stem_, " was not made by the server at ", place_.path));
  }
  file_ = std::move(file);
  return true;
}

absl::StatusOr<Welcome> Connector::AwaitWelcome() {
  while (true) {
    ASSIGN_OR_RETURN(const bool there, OpenWelcome());
    Welcome welcome;
    if (there && pread(file_.get(), &welcome, sizeof welcome, 0) == sizeof welcome) {
      if (welcome.magic != Welcome::kMagic || welcome.version != kVersion) {
        return absl::FailedPreconditionError(Cat(place_.path, ": the server speaks another version of the rendezvous (",
                                                 welcome.version, "; we speak ", kVersion, ")"));
      }
      if (welcome.state == Welcome::kRefused) return Refusal(welcome);
      if (welcome.state == Welcome::kReady) {
        // Before the server can ask for it, that is before our proof.
        if (!TakeLife(file_.get(), Side::kClient)) {
          return absl::UnavailableError(Cat("cannot lock ", stem_, ": ", strerror(errno)));
        }
        return welcome;
      }
    }
    if (ServerLeft()) return ServerWent();
    if (!pause_.Sleep()) return absl::DeadlineExceededError(Cat(place_.path, ": its server did not answer in time"));
  }
}

absl::Status Connector::Refusal(const Welcome& welcome) const {
  std::string why(kMaxRefusalBytes, '\0');
  const ssize_t size = pread(file_.get(), why.data(), why.size(), sizeof welcome);
  why.resize(size < 0 ? 0 : static_cast<size_t>(size));
  const auto code = static_cast<absl::StatusCode>(welcome.code);
  return absl::Status(code == absl::StatusCode::kOk || welcome.code > 16 ? absl::StatusCode::kUnavailable : code,
                      Cat(place_.path, ": refused by its server: ", why));
}

// It is believed for owning the place; what it says of its pid is checked against that.
PeerIdentity Connector::ServerIdentity(const Welcome& welcome) const {
  PeerIdentity peer = {.pid = 0, .uid = place_.owner, .gid = PeerIdentity{}.gid, .vouched = true};
  struct stat info;
  if (welcome.pid <= 0 || welcome.pid_namespace != PidNamespace()) return peer;
  if (stat(Cat("/proc/", welcome.pid).c_str(), &info) != 0 || info.st_uid != place_.owner) return peer;
  peer.pid = welcome.pid;
  peer.gid = info.st_gid;
  return peer;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Link>> ConnectTo(const Mechanism& mechanism, const Address& address,
                                                int64_t deadline_ns) {
  ASSIGN_OR_RETURN(FoundPlace place, FindPlace(mechanism, address));
  Connector connector(mechanism, std::move(place), std::min(deadline_ns, MonotonicNs() + kHandshakeNs));
  absl::StatusOr<std::unique_ptr<Link>> link = connector.Connect();
  if (link.ok()) return link;
  return absl::Status(link.status().code(), Cat("cannot reach ", address.ToString(), ": ", MessageOf(link.status())));
}

}  // namespace ipcrpc::rendezvous
