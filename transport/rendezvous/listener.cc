// The server's side of the rendezvous: a well-known place, and pairs made for who asks there until each has proven
// itself. One thread at a time drives it; a client that is slow or wrong is dropped after a time and delays nobody.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <utility>

#include "transport/address_parameters.h"
#include "transport/base/clock.h"
#include "transport/base/fork_guard.h"
#include "transport/base/process.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/rendezvous/leftovers.h"
#include "transport/rendezvous/place.h"
#include "transport/stream/stream_link.h"

namespace ipcrpc::rendezvous {
namespace {

constexpr int64_t kHandshakeNs = 5'000'000'000;
// Clients that have asked and not yet come. Then the oldest goes.
constexpr size_t kMaxPending = 256;
constexpr int kEventsPerVisit = 64;
constexpr int kReadsPerVisit = 64;

absl::StatusOr<Access> AccessOf(const Address& address) {
  Access access;
  ASSIGN_OR_RETURN(access.mode, ModeParameter(address));
  if (FindParameter(address, "group") != nullptr) {
    ASSIGN_OR_RETURN(access.group, GidParameter(address, "group"));
  }
  return access;
}

class RendezvousListener final : public Listener {
 public:
  RendezvousListener(const Mechanism& mechanism, const Address& address, Access access)
      : mechanism_(mechanism), address_(address), access_(access), epoll_(epoll_create1(EPOLL_CLOEXEC)),
        timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {}

  ~RendezvousListener() override {
    if (!fork_guard_.ours()) return;
    while (!pending_.empty()) Drop(pending_.begin());
    if (lock_ != nullptr) RemoveDeadPairs(base_);
    if (place_ != nullptr) mechanism_.RemovePlace(path_, reference_, geteuid());
    if (made_file_) unlink(path_.c_str());
    place_.reset();
  }

  absl::Status Bind();

  const Address& address() const override { return address_; }
  int fd() const override { return epoll_.get(); }
  void OnReadable(const std::function<void(std::unique_ptr<Link>)>& on_link) override;

 private:
  struct Pending {
    std::string stem;
    Token token;
    UniqueFd file;
    UniqueFd life;    // its FIFO
    End end;          // no medium: the client was refused, and may read why
    bool known_uid;   // the file, and so the nonce, is readable to that uid alone
    uid_t uid;
    pid_t pid;        // 0: of another PID namespace
    int64_t deadline_ns;
  };
  using PendingIterator = std::list<Pending>::iterator;

  void Watch(int fd, uint64_t what) {
    epoll_event event = {.events = EPOLLIN, .data = {.u64 = what}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }
  absl::Status MakeReferenceFile();
  void TakeAsks();
  void Serve(const Ask& ask);
  absl::Status Admit(const Ask& ask, Pending& pending);
  void TakeProof(PendingIterator pending, const std::function<void(std::unique_ptr<Link>)>& on_link);
  absl::StatusOr<std::unique_ptr<Link>> Complete(Pending& pending, const Proof& proof);
  void Drop(PendingIterator pending);
  void DropExpired();

  enum : uint64_t { kPlace, kTimer, kFirstPending };

  const ForkGuard fork_guard_;
  const Mechanism& mechanism_;
  const Address address_;
  const Access access_;
  const UniqueFd epoll_;
  const UniqueFd timer_;

  std::string base_;
  std::unique_ptr<NameLock> lock_;
  std::string path_;
  std::string reference_;
  UniqueFd reference_file_;
  bool made_file_ = false;
  std::unique_ptr<stream::Medium> place_;
  AskReader asks_;
  std::list<Pending> pending_;  // oldest first
};

// ---- binding -----------------------------------------------------------------------------------

absl::Status RendezvousListener::Bind() {
  std::string directory;
  if (address_.kind == Address::Kind::kAbstract) {
    return absl::InvalidArgumentError(Cat("cannot listen at '", address_.ToString(), "': ", mechanism_.scheme(),
                                          ": has no abstract names; expected a name or a path"));
  }
  const bool plain_name = address_.kind == Address::Kind::kName;
  if (plain_name) {
    ASSIGN_OR_RETURN(directory, ServerDirectory());
    base_ = Cat(directory, "/", address_.rest);
    path_ = Cat(base_, ".", mechanism_.scheme());
  } else {
    ASSIGN_OR_RETURN(base_, AbsolutePath(address_.rest));
    path_ = base_;
  }
  ASSIGN_OR_RETURN(lock_, NameLock::Take(base_, plain_name));
  if (plain_name) SweepDirectory(directory);
  RETURN_IF_ERROR(ClearPlace(mechanism_, path_));
  const std::string name = base_.substr(base_.rfind('/') + 1);
  reference_ = mechanism_.NewReference(name);
  if (!reference_.empty()) RETURN_IF_ERROR(MakeReferenceFile());
  // What others may do is to write; to read there is to take the asks of others away.
  Access access = access_;
  access.mode &= static_cast<mode_t>(~0044);
  ASSIGN_OR_RETURN(place_, mechanism_.MakePlace(path_, reference_, access));
  if (reference_file_.valid()) {
    access.mode = (access_.mode & 0600) | ((access_.mode & 0022) << 1) | (access_.mode & 0044);
    RETURN_IF_ERROR(Grant(reference_file_.get(), access, path_));
  }
  Watch(place_->read_fd(), kPlace);
  Watch(timer_.get(), kTimer);
  place_->Arm();
  return absl::OkStatus();
}

absl::Status RendezvousListener::MakeReferenceFile() {
  reference_file_.reset(open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!reference_file_.valid()) {
    if (errno == EEXIST) return absl::AlreadyExistsError(Cat("cannot listen at ", path_, ": it exists"));
    if (errno == EACCES || errno == EPERM || errno == EROFS) {
      return absl::PermissionDeniedError(Cat("cannot make ", path_, ": ", strerror(errno)));
    }
    return absl::ErrnoToStatus(errno, Cat("cannot make ", path_));
  }
  made_file_ = true;
  const std::string line = ReferenceLine(mechanism_, reference_);
  if (!TakeLife(reference_file_.get(), Side::kServer)) return absl::ErrnoToStatus(errno, Cat("cannot lock ", path_));
  if (pwrite(reference_file_.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size())) {
    return absl::ErrnoToStatus(errno, Cat("cannot write ", path_));
  }
  return absl::OkStatus();
}

// ---- asks --------------------------------------------------------------------------------------

void RendezvousListener::OnReadable(const std::function<void(std::unique_ptr<Link>)>& on_link) {
  epoll_event events[kEventsPerVisit];
  const int count = epoll_wait(epoll_.get(), events, kEventsPerVisit, 0);
  TakeAsks();
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u64 < kFirstPending) continue;
    // It may have been dropped meanwhile; then its number is not in the list.
    const int fd = static_cast<int>(events[i].data.u64 - kFirstPending);
    const auto pending = std::find_if(pending_.begin(), pending_.end(), [fd](const Pending& p) {
      return p.end.medium != nullptr && p.end.medium->read_fd() == fd;
    });
    if (pending != pending_.end()) TakeProof(pending, on_link);
  }
  DropExpired();
}

void RendezvousListener::TakeAsks() {
  for (int i = 0; i < kReadsPerVisit; ++i) {
    const std::span<std::byte> room = asks_.Room();
    const ssize_t got = place_->Read(room.data(), room.size());
    if (got < 0 && errno == EAGAIN && place_->Arm()) return;
    if (got < 0 && errno != EAGAIN) return;
    if (got > 0) asks_.Filled(static_cast<size_t>(got));
    while (const std::optional<Ask> ask = asks_.Next()) Serve(*ask);
  }
}

// Whatever comes of it, the client learns from the file of its token, if it may read it.
void RendezvousListener::Serve(const Ask& ask) {
  // Only who made up the token knows it before its file is there; a second ask with it is somebody else's.
  const std::string stem = StemOf(base_, ask.token);
  for (const Pending& pending : pending_) {
    if (pending.token == ask.token) return;
  }
  if (mechanism_.names_stay()) RemoveDeadPairs(base_);
  if (pending_.size() >= kMaxPending) Drop(pending_.begin());
  Pending pending = {.stem = stem, .token = ask.token, .file = {}, .life = {}, .end = {}, .known_uid = false, .uid = ask.uid, .pid = 0,
                     .deadline_ns = MonotonicNs() + kHandshakeNs};
  pending.file.reset(open(stem.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!pending.file.valid()) return;
  Welcome making;
  making.kind = static_cast<uint32_t>(mechanism_.kind());
  TakeLife(pending.file.get(), Side::kServer);
  const bool written = pwrite(pending.file.get(), &making, sizeof making, 0) == sizeof making;
  const absl::Status admitted = written ? Admit(ask, pending) : absl::ErrnoToStatus(errno, Cat("cannot write ", stem));
  Welcome& welcome = pending.end.welcome;
  welcome.kind = making.kind;
  welcome.pid = getpid();
  welcome.pid_namespace = PidNamespace();
  welcome.state = Welcome::kMaking;
  if (!admitted.ok()) {
    pending.end.medium.reset();
    welcome.code = static_cast<uint16_t>(admitted.code());
    const std::string_view why = MessageOf(admitted).substr(0, kMaxRefusalBytes);
    [[maybe_unused]] const ssize_t ignored = pwrite(pending.file.get(), why.data(), why.size(), sizeof welcome);
  } else {
    welcome.nonce = RandomToken();
  }
  const uint32_t state = admitted.ok() ? Welcome::kReady : Welcome::kRefused;
  const bool told = pwrite(pending.file.get(), &welcome, sizeof welcome, 0) == sizeof welcome &&
                    pwrite(pending.file.get(), &state, sizeof state, offsetof(Welcome, state)) == sizeof state;
  pending_.push_back(std::move(pending));
  if (!told) return Drop(std::prev(pending_.end()));
  stream::Medium* medium = pending_.back().end.medium.get();
  if (medium == nullptr) return;
  Watch(medium->read_fd(), kFirstPending + static_cast<uint64_t>(medium->read_fd()));
  medium->Arm();
}

// Makes the pair for the uid that asked. What is ours to give away only by the address's ?mode= and ?group= proves
// nothing about who takes it.
absl::Status RendezvousListener::Admit(const Ask& ask, Pending& pending) {
  Access access;
  pending.known_uid = true;
  if (ask.uid != geteuid()) {
    access.owner = ask.uid;
    access.group = ask.gid;
  }
  absl::Status granted = Grant(pending.file.get(), access, pending.stem);
  if (!granted.ok()) {
    access = access_;
    access.mode &= 0666;
    pending.known_uid = false;
    granted = Grant(pending.file.get(), access, pending.stem);
  }
  RETURN_IF_ERROR(granted);
  if (ask.version_min > kVersion || ask.version_max < kVersion) {
    return absl::FailedPreconditionError(Cat("the server speaks version ", kVersion, " of the rendezvous, the client ",
                                             ask.version_min, " to ", ask.version_max));
  }
  if (ask.uid == PeerIdentity::kUnknownUid) {
    return absl::PermissionDeniedError(Cat("uid ", ask.uid, " stands for users that are not known here; it is nobody's"));
  }
  if (ask.pid > 0 && ask.pid_namespace == PidNamespace()) pending.pid = ask.pid;
  ASSIGN_OR_RETURN(pending.end, mechanism_.MakePair(pending.stem, pending.token, access));
  if (mechanism_.wants_watch()) pending.life = MakeLifeFifo(pending.stem, access);
  return absl::OkStatus();
}

// ---- proofs ------------------------------------------------------------------------------------

void RendezvousListener::TakeProof(PendingIterator pending,
                                   const std::function<void(std::unique_ptr<Link>)>& on_link) {
  stream::Medium& medium = *pending->end.medium;
  std::array<std::byte, 8192> buffer;
  // A stream may have frames behind the proof, a message has not.
  const size_t room = std::max(sizeof(Proof), medium.read_unit());
  const ssize_t got = medium.Read(buffer.data(), room);
  if (got < 0 && errno == EAGAIN) {
    if (!medium.Arm()) TakeProof(pending, on_link);
    return;
  }
  Proof proof;
  absl::StatusOr<std::unique_ptr<Link>> link = absl::UnauthenticatedError("no proof");
  if (got == sizeof proof) {
    std::memcpy(&proof, buffer.data(), sizeof proof);
    link = Complete(*pending, proof);
  }
  if (!link.ok()) return Drop(pending);
  pending_.erase(pending);
  on_link(*std::move(link));
}

absl::StatusOr<std::unique_ptr<Link>> RendezvousListener::Complete(Pending& pending, const Proof& proof) {
  if (proof.magic != Proof::kMagic || proof.nonce != pending.end.welcome.nonce) {
    return absl::UnauthenticatedError("a wrong nonce");
  }
  RETURN_IF_ERROR(mechanism_.Accept(pending.end, proof));
  PeerIdentity peer;
  if (pending.known_uid) peer.uid = pending.uid, peer.vouched = true;
  // A pid that we do not see is not believed; one that has left already is not missed. Nor is one believed that holds the pair and
  // is another user's by now: who asked may have had a set-uid program inherit it.
  if (pending.pid != 0 && mechanism_.IsHeldBy(pending.end, proof, pending.pid)) {
    const ProcessOwner owner = OwnerOfProcess(pending.pid);
    if (owner.uid == pending.uid) {
      peer.pid = pending.pid;
      peer.uid = pending.uid;
      peer.vouched = true;
      if (owner.gid.has_value()) peer.gid = *owner.gid;
    }
  }
  const int fd = pending.end.medium->read_fd();
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  if (mechanism_.wants_watch()) {
    UniqueFd life;
    if (pending.life.valid()) life = OpenLifeFifo(pending.stem, Side::kServer);
    mechanism_.Watch(pending.end, std::make_unique<PeerWatch>(std::move(pending.file), Side::kServer, std::move(life),
                                                              peer.pid));
  }
  // As long as the pair itself is needed by its name, so is its file.
  RemovePairNames(mechanism_.names_stay() ? nullptr : &mechanism_, pending.stem, pending.token, geteuid());
  if (!mechanism_.names_stay()) unlink(pending.stem.c_str());
  return std::make_unique<StreamLink>(std::move(pending.end.medium),
                                      StreamLink::Options{.capabilities = mechanism_.capabilities(),
                                                          .peer = peer,
                                                          .description = Cat(mechanism_.scheme(), ":", path_)});
}

void RendezvousListener::Drop(PendingIterator pending) {
  if (pending->end.medium != nullptr) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, pending->end.medium->read_fd(), nullptr);
    pending->end.medium->Hangup();
  }
  RemovePairNames(&mechanism_, pending->stem, pending->token, geteuid());
  unlink(pending->stem.c_str());
  pending_.erase(pending);
}

void RendezvousListener::DropExpired() {
  const int64_t now = MonotonicNs();
  while (!pending_.empty() && pending_.front().deadline_ns <= now) Drop(pending_.begin());
  itimerspec next = {};
  if (!pending_.empty()) next.it_value = ToTimespec(pending_.front().deadline_ns);
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &next, nullptr);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> ListenAt(const Mechanism& mechanism, const Address& address) {
  ASSIGN_OR_RETURN(const Access access, AccessOf(address));
  auto listener = std::make_unique<RendezvousListener>(mechanism, address, access);
  RETURN_IF_ERROR(listener->Bind());
  return listener;
}

std::string StemOf(const std::string& base, const Token& token) { return Cat(base, "~", Hex(token)); }

}  // namespace ipcrpc::rendezvous
