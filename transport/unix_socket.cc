#include "transport/unix_socket.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <vector>

#include "transport/address_parameters.h"
#include "transport/base/clock.h"
#include "transport/base/nearest.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/unix_address.h"

namespace ipcrpc {
namespace {

constexpr int kBacklog = 4096;  // the kernel cuts it to net.core.somaxconn

// ---- binding -----------------------------------------------------------------------------------

// Makes `path` free: removes a socket on which nobody answers. The name's lock is ours.
absl::Status ClearName(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISSOCK(info.st_mode)) {
    return absl::AlreadyExistsError(Cat("cannot listen at ", path, ": it exists and is not a socket"));
  }
  const SocketOwner owner = ProbeSocket(path);
  if (owner.listening) {
    return absl::AlreadyExistsError(
        Cat("cannot listen at ", path, ": ", DescribeProcess(owner.pid), " listens there"));
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return absl::ErrnoToStatus(errno, Cat("cannot remove ", path, ", which a dead process left"));
  }
  return absl::OkStatus();
}

// A long path was, which says nothing of where it is.
bool IsBoundThroughFd(std::string_view bound) { return bound.starts_with("/proc/self/fd/"); }

absl::StatusOr<UniqueFd> NewListenSocket(int type) {
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "cannot make a unix socket");
  return fd;
}

absl::Status BindError(int error, const std::string& place) {
  const std::string what = Cat("cannot listen at ", place, ": ", strerror(error));
  if (error == EACCES || error == EPERM || error == EROFS) return absl::PermissionDeniedError(what);
  if (error == ENOENT || error == ENOTDIR)
    return absl::FailedPreconditionError(Cat(what, " (no such directory)"));
  return absl::ErrnoToStatus(error, Cat("cannot listen at ", place));
}

absl::Status CheckAbstract(const Address& address) {
  for (std::string_view key : {"mode", "group"}) {
    if (FindParameter(address, key) != nullptr)
      return BadParameter(address, key, "a path: abstract names have no permissions");
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> BindAbstract(const std::string& place, int type) {
  const UnixSocketAddress name = UnixSocketAddress::ForAbstract(std::string_view(place).substr(1));
  ASSIGN_OR_RETURN(UniqueFd fd, NewListenSocket(type));
  if (bind(fd.get(), name.get(), name.size()) != 0) {
    if (errno != EADDRINUSE) return BindError(errno, place);
    UniqueFd probe(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ucred peer = {};
    socklen_t size = sizeof peer;
    const bool known = probe.valid() && connect(probe.get(), name.get(), name.size()) == 0 &&
                       getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
    return absl::AlreadyExistsError(
        Cat("cannot listen at ", place, ": ", DescribeProcess(known ? peer.pid : 0), " listens there"));
  }
  if (listen(fd.get(), kBacklog) != 0) return BindError(errno, place);
  return fd;
}

struct FileOptions {
  mode_t mode = 0600;
  std::optional<gid_t> group;
};

absl::StatusOr<FileOptions> FileOptionsOf(const Address& address) {
  FileOptions options;
  ASSIGN_OR_RETURN(options.mode, ModeParameter(address));
  if (FindParameter(address, "group") != nullptr) {
    ASSIGN_OR_RETURN(options.group, GidParameter(address, "group"));
  }
  return options;
}

absl::Status ApplyOptions(const std::string& path, const FileOptions& options) {
  if (options.group && lchown(path.c_str(), static_cast<uid_t>(-1), *options.group) != 0) {
    return absl::PermissionDeniedError(Cat("cannot give ", path, " to group ", *options.group, ": ", strerror(errno),
                                           " (only root, or a member of it, may)"));
  }
  if (chmod(path.c_str(), options.mode) != 0) return BindError(errno, path);
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> BindFile(const std::string& path, int type, const FileOptions& options) {
  ASSIGN_OR_RETURN(const UnixSocketAddress name, UnixSocketAddress::ForFile(path));
  ASSIGN_OR_RETURN(UniqueFd fd, NewListenSocket(type));
  // The mode of a socket before bind() is the mode its file is made with: never more than wanted, not even
  // for a moment.
  if (fchmod(fd.get(), 0600) != 0) return BindError(errno, path);
  if (bind(fd.get(), name.get(), name.size()) != 0) return BindError(errno, path);
  absl::Status ready = ApplyOptions(path, options);
  if (ready.ok() && listen(fd.get(), kBacklog) != 0) ready = BindError(errno, path);
  if (!ready.ok()) {
    unlink(path.c_str());
    return ready;
  }
  return fd;
}

// ---- connecting --------------------------------------------------------------------------------

void SetSendTimeout(int fd, int64_t ns) {
  const timeval timeout = {.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
                           .tv_usec = static_cast<suseconds_t>(ns % 1'000'000'000 / 1000)};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
}

// connect(), which waits for room in the backlog until the deadline. 0 or errno; EAGAIN: the deadline passed.
int ConnectBy(int fd, const UnixSocketAddress& address, int64_t deadline_ns) {
  constexpr int64_t kLongestNs = int64_t{3600} * 1'000'000'000;
  while (true) {
    if (deadline_ns != kNoDeadline) {
      // Zero would mean for ever.
      SetSendTimeout(fd, std::clamp<int64_t>(deadline_ns - MonotonicNs(), 1000, kLongestNs));
    }
    const int error = connect(fd, address.get(), address.size()) == 0 ? 0 : errno;
    if (error == EINTR || (error == EAGAIN && deadline_ns - MonotonicNs() > 0)) continue;
    if (deadline_ns != kNoDeadline) SetSendTimeout(fd, 0);
    return error;
  }
}

absl::Status ConnectError(int error, const std::string& place, bool abstract) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::UnavailableError(Cat(place, " does not exist"));
    case ECONNREFUSED:
      return absl::UnavailableError(
          Cat(place, abstract ? ": nobody listens there" : ": nobody listens there (its server is gone)"));
    case EACCES:
    case EPERM: {
      struct stat info;
      if (abstract || stat(place.c_str(), &info) != 0)
        return absl::PermissionDeniedError(Cat(place, ": permission denied"));
      return absl::PermissionDeniedError(Cat(place, ": permission denied (it belongs to uid ", info.st_uid,
                                             ", we are uid ", geteuid(),
                                             "; its server can set ?mode= or ?group=)"));
    }
    case EAGAIN:
      return absl::DeadlineExceededError(Cat(place, ": its server did not accept in time"));
    case EPROTOTYPE:
      return absl::FailedPreconditionError(Cat(place, " is a socket of another type, for another scheme"));
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(Cat("no file descriptor left to connect to ", place));
    default:
      return absl::UnavailableError(Cat(place, ": ", strerror(error)));
  }
}

bool Believed(const PeerIdentity& peer, std::optional<uid_t> also) {
  if (peer.uid == PeerIdentity::kUnknownUid) return false;
  return peer.uid == 0 || peer.uid == geteuid() || (also && peer.uid == *also);
}

absl::StatusOr<UnixConnection> ConnectTo(const UnixSocketAddress& address, std::string place, bool abstract,
                                         int type, std::optional<uid_t> believe, int64_t deadline_ns) {
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ConnectError(errno, place, abstract);
  if (const int error = ConnectBy(fd.get(), address, deadline_ns); error != 0)
    return ConnectError(error, place, abstract);
  ASSIGN_OR_RETURN(const PeerIdentity peer, PeerOfUnixSocket(fd.get()));
  if (!Believed(peer, believe)) {
    return absl::PermissionDeniedError(
        Cat(place, ": its server is not to be believed: ", peer.ToString(), "; only root, our own uid (",
            geteuid(), ")", believe ? Cat(" and uid ", *believe, " are") : " or the one of ?uid= is"));
  }
  return UnixConnection{.fd = std::move(fd), .peer = peer, .place = std::move(place)};
}

absl::StatusOr<UnixConnection> ConnectToFile(const std::string& path, int type, std::optional<uid_t> believe,
                                             int64_t deadline_ns) {
  absl::StatusOr<UnixSocketAddress> address = UnixSocketAddress::ForFile(path);
  if (!address.ok()) {
    if (absl::IsInvalidArgument(address.status()) || absl::IsPermissionDenied(address.status()))
      return address.status();
    return absl::UnavailableError(address.status().message());
  }
  return ConnectTo(*address, path, false, type, believe, deadline_ns);
}

// Tries each directory; the most telling of the failures decides the code, all are in the message.
absl::StatusOr<UnixConnection> ConnectToName(const Address& address, UnixSocketKind kind,
                                             std::optional<uid_t> believe, int64_t deadline_ns) {
  std::vector<std::string> failures;
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  for (const std::string& directory : ClientDirectories()) {
    const std::string path = Cat(directory, "/", address.rest, ".", kind.suffix);
    absl::StatusOr<UnixConnection> connection = ConnectToFile(path, kind.type, believe, deadline_ns);
    if (connection.ok()) return connection;
    failures.emplace_back(MessageOf(connection.status()));
    if (code == absl::StatusCode::kUnavailable) code = connection.status().code();
    if (absl::IsDeadlineExceeded(connection.status())) break;
  }
  return absl::Status(code, Cat("cannot reach ", address.ToString(), ": ", Join(failures, "; ")));
}

}  // namespace

// ---- UnixListenSocket --------------------------------------------------------------------------

struct UnixListenSocket::State {
  UniqueFd fd;
  std::string place;
  std::optional<FileOptions> options;  // where the file is ours to give them to
  bool is_file = false;  // whose name is ours to remove
  dev_t device = 0;      // of the file, to remove no other's
  ino_t inode = 0;
  pid_t owner = getpid();
  std::unique_ptr<NameLock> lock;
  UniqueFd spare;  // given up to accept, and so to close, a connection for which there is no descriptor

  bool abstract() const { return place.front() == '@'; }
  void NoteFile() {
    struct stat info;
    is_file = !abstract() && lstat(place.c_str(), &info) == 0;
    if (is_file) device = info.st_dev, inode = info.st_ino;
  }
  absl::Status Bind(int type) {
    if (abstract()) {
      ASSIGN_OR_RETURN(fd, BindAbstract(place, type));
    } else {
      // Two threads of this process share the lock, so it does not keep them apart here.
      static auto* const binding = new std::mutex;
      const std::lock_guard one_at_a_time(*binding);
      RETURN_IF_ERROR(ClearName(place));
      ASSIGN_OR_RETURN(fd, BindFile(place, type, options.value_or(FileOptions())));
      NoteFile();
    }
    return absl::OkStatus();
  }
  // Whether `fd` is a socket of that type that listens at the place.
  absl::Status CheckAdopted(int type) const {
    struct sockaddr_un name = {};
    socklen_t size = sizeof name;
    int listening = 0, of_type = 0;
    socklen_t int_size = sizeof listening;
    const bool socket = getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0 && name.sun_family == AF_UNIX &&
                        getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &int_size) == 0 && listening != 0 &&
                        getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &of_type, &int_size) == 0 && of_type == type;
    bool same = false;
    if (socket && abstract()) {
      const size_t length = size - offsetof(sockaddr_un, sun_path);
      same = length == place.size() && std::string_view(name.sun_path + 1, length - 1) == std::string_view(place).substr(1);
    } else if (socket) {
      const std::string_view bound(name.sun_path);
      same = bound == place || (place.size() >= sizeof name.sun_path && IsBoundThroughFd(bound));
      struct stat info;
      const bool reachable = lstat(place.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
      if (same && !reachable) return absl::FailedPreconditionError(Cat("the file of the socket ", place, " is gone"));
    }
    if (!same) return absl::FailedPreconditionError(Cat("what was handed over does not listen at ", place));
    // One that waits in accept() would keep its thread from all else.
    if (fcntl(fd.get(), F_SETFL, O_RDWR | O_NONBLOCK) != 0) return absl::ErrnoToStatus(errno, Cat("the socket of ", place));
    return absl::OkStatus();
  }
};

namespace {

struct Name {
  std::string place;
  std::string base;  // of the lock; empty: it has none
};

absl::StatusOr<Name> NameOf(const Address& address, UnixSocketKind kind) {
  Name name;
  switch (address.kind) {
    case Address::Kind::kAbstract:
      RETURN_IF_ERROR(CheckAbstract(address));
      name.place = Cat("@", address.rest);
      return name;
    case Address::Kind::kPath: {
      ASSIGN_OR_RETURN(name.place, AbsolutePath(address.rest));
      name.base = name.place;
      return name;
    }
    case Address::Kind::kName: {
      ASSIGN_OR_RETURN(const std::string directory, ServerDirectory());
      name.base = Cat(directory, "/", address.rest);
      name.place = Cat(name.base, ".", kind.suffix);
      return name;
    }
  }
  return name;
}

UniqueFd SpareDescriptor() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

absl::StatusOr<std::unique_ptr<UnixListenSocket>> UnixListenSocket::Bind(const Address& address,
                                                                         UnixSocketKind kind) {
  auto state = std::make_unique<State>();
  ASSIGN_OR_RETURN(Name name, NameOf(address, kind));
  state->place = std::move(name.place);
  if (!name.base.empty()) {
    ASSIGN_OR_RETURN(state->options, FileOptionsOf(address));
    const bool plain_name = address.kind == Address::Kind::kName;
    ASSIGN_OR_RETURN(state->lock, NameLock::Take(name.base, plain_name));
    if (plain_name) SweepDirectory(name.base.substr(0, name.base.rfind('/')));
  }
  RETURN_IF_ERROR(state->Bind(kind.type));
  state->spare = SpareDescriptor();
  return std::unique_ptr<UnixListenSocket>(new UnixListenSocket(std::move(state)));
}

absl::StatusOr<std::unique_ptr<UnixListenSocket>> UnixListenSocket::BindBeside(const std::string& place, int type) {
  auto state = std::make_unique<State>();
  state->place = place;
  RETURN_IF_ERROR(state->Bind(type));
  state->spare = SpareDescriptor();
  return std::unique_ptr<UnixListenSocket>(new UnixListenSocket(std::move(state)));
}

std::vector<int> UnixListenSocket::handles() const {
  std::vector<int> handles = {state_->fd.get()};
  if (state_->lock != nullptr) handles.push_back(state_->lock->fd());
  return handles;
}

absl::StatusOr<std::unique_ptr<UnixListenSocket>> UnixListenSocket::Adopt(const Address& address, UnixSocketKind kind,
                                                                          std::vector<UniqueFd> handles) {
  auto state = std::make_unique<State>();
  ASSIGN_OR_RETURN(Name name, NameOf(address, kind));
  const size_t most = name.base.empty() ? 1 : 2;
  if (handles.empty() || handles.size() > most) {
    return absl::FailedPreconditionError(Cat(handles.size(), " descriptors were handed over for ", name.place));
  }
  state->place = std::move(name.place);
  state->fd = std::move(handles[0]);
  RETURN_IF_ERROR(state->CheckAdopted(kind.type));
  if (handles.size() == 2) {
    ASSIGN_OR_RETURN(state->options, FileOptionsOf(address));
    ASSIGN_OR_RETURN(state->lock, NameLock::Adopt(name.base, std::move(handles[1])));
    state->lock->Abandon();
  } else if (!name.base.empty()) {
    ASSIGN_OR_RETURN(state->lock, NameLock::Take(name.base, address.kind == Address::Kind::kName));
  }
  state->spare = SpareDescriptor();
  return std::unique_ptr<UnixListenSocket>(new UnixListenSocket(std::move(state)));
}

absl::StatusOr<std::unique_ptr<UnixListenSocket>> UnixListenSocket::AdoptBeside(const std::string& place, int type,
                                                                                UniqueFd socket) {
  auto state = std::make_unique<State>();
  state->place = place;
  state->fd = std::move(socket);
  RETURN_IF_ERROR(state->CheckAdopted(type));
  state->spare = SpareDescriptor();
  return std::unique_ptr<UnixListenSocket>(new UnixListenSocket(std::move(state)));
}

absl::Status UnixListenSocket::Own() {
  // A second listen() changes whom SO_PEERCRED names to those who connect.
  if (listen(state_->fd.get(), kBacklog) != 0) return BindError(errno, state_->place);
  if (state_->lock != nullptr) {
    if (state_->options) RETURN_IF_ERROR(ApplyOptions(state_->place, *state_->options));
    RETURN_IF_ERROR(state_->lock->Own());
  }
  state_->NoteFile();
  return absl::OkStatus();
}

void UnixListenSocket::Abandon() {
  state_->is_file = false;
  if (state_->lock != nullptr) state_->lock->Abandon();
}

UnixListenSocket::UnixListenSocket(std::unique_ptr<State> state) : state_(std::move(state)) {}

UnixListenSocket::~UnixListenSocket() {
  if (state_->is_file && state_->owner == getpid()) {
    struct stat info;
    const bool still_ours = lstat(state_->place.c_str(), &info) == 0 && info.st_dev == state_->device &&
                            info.st_ino == state_->inode;
    if (still_ours) unlink(state_->place.c_str());
  }
  // Closed before the lock goes, so that a successor never finds a name that is free but answers.
  state_->fd.reset();
}

int UnixListenSocket::fd() const { return state_->fd.get(); }
const std::string& UnixListenSocket::place() const { return state_->place; }

absl::StatusOr<UniqueFd> UnixListenSocket::Accept() {
  while (true) {
    UniqueFd fd(accept4(state_->fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd.valid() || errno == EAGAIN) return fd;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EMFILE && errno != ENFILE)
      return absl::ErrnoToStatus(errno, Cat("cannot accept at ", state_->place));
    // Left in the backlog it would keep fd() readable for ever, and its client waiting. (Without a descriptor
    // the kernel does not even tell whether anybody waits.)
    state_->spare.reset();
    fd.reset(accept4(state_->fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const bool somebody = fd.valid() || errno != EAGAIN;
    fd.reset();
    state_->spare.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!somebody) return UniqueFd();
    return absl::ResourceExhaustedError(
        Cat("refused a connection at ", state_->place, ": no file descriptor left (see ulimit -n)"));
  }
}

// ---- free functions ----------------------------------------------------------------------------

absl::StatusOr<UnixConnection> ConnectUnixSocket(const Address& address, UnixSocketKind kind,
                                                 int64_t deadline_ns) {
  std::optional<uid_t> believe;
  if (FindParameter(address, "uid") != nullptr) {
    ASSIGN_OR_RETURN(believe, UidParameter(address, "uid"));
  }
  if (address.kind == Address::Kind::kName) return ConnectToName(address, kind, believe, deadline_ns);
  absl::StatusOr<UnixConnection> connection =
      address.kind == Address::Kind::kPath
          ? ConnectToFile(address.rest, kind.type, believe, deadline_ns)
          : ConnectTo(UnixSocketAddress::ForAbstract(address.rest), Cat("@", address.rest), true, kind.type,
                      believe, deadline_ns);
  if (connection.ok()) return connection;
  return absl::Status(connection.status().code(),
                      Cat("cannot reach ", address.ToString(), ": ", MessageOf(connection.status())));
}

// None where the kernel does not tell.
static std::vector<gid_t> PeerGroups(int fd) {
  std::array<gid_t, 32> usual;
  socklen_t bytes = sizeof usual;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, usual.data(), &bytes) == 0) {
    return {usual.begin(), usual.begin() + bytes / sizeof(gid_t)};
  }
  if (errno != ERANGE) return {};
  std::vector<gid_t> groups(bytes / sizeof(gid_t));  // as many as it says there are
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) != 0) return {};
  return groups;
}

absl::StatusOr<PeerIdentity> PeerOfUnixSocket(int fd) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return absl::ErrnoToStatus(errno, "cannot tell who is at the other end of a unix socket");
  }
  return PeerIdentity{.pid = peer.pid, .uid = peer.uid, .gid = peer.gid, .vouched = true, .groups = PeerGroups(fd)};
}

}  // namespace ipcrpc
