#include "transport/names.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include "absl/strings/ascii.h"
#include "transport/base/clock.h"
#include "transport/base/fd.h"
#include "transport/base/process.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/rendezvous/leftovers.h"
#include "transport/shm/left_behind.h"
#include "transport/snapshot/file_names.h"
#include "transport/unix_address.h"

namespace ipcrpc {
namespace {

constexpr std::string_view kSystemDirectory = "/run/ipcrpc";
constexpr std::string_view kLockSuffix = ".lock";
// What a name may have beside its lock.
constexpr std::array<std::string_view, 10> kSuffixes = {
    ".sock", ".shm", ".fifo", ".mqueue", ".sysvmq", ".netlink", snapshot::kSuffix, snapshot::kNewSuffix, ".unix.ctl", ".shm.ctl"};

std::string Environment(const char* name) {
  const char* value = secure_getenv(name);
  return value == nullptr ? "" : value;
}

std::string UserDirectory() {
  const std::string base = Environment("XDG_RUNTIME_DIR");
  // The specification of XDG_RUNTIME_DIR has relative paths ignored.
  return base.starts_with('/') ? Cat(base, "/ipcrpc") : "";
}

std::string Octal(mode_t mode) {
  char digits[16];
  std::snprintf(digits, sizeof digits, "%04o", mode);
  return digits;
}

absl::Status CheckDirectory(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, Cat("runtime directory ", path));
  }
  if (!S_ISDIR(info.st_mode)) {
    return absl::FailedPreconditionError(Cat("runtime directory ", path, " is not a directory"));
  }
  if (info.st_uid != 0 && info.st_uid != geteuid()) {
    return absl::FailedPreconditionError(Cat("runtime directory ", path, " belongs to uid ", info.st_uid,
                                             "; it must belong to root or to us (uid ", geteuid(), ")"));
  }
  const bool others_may_replace = (info.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (info.st_mode & S_ISVTX) == 0;
  if (others_may_replace) {
    return absl::FailedPreconditionError(Cat("runtime directory ", path, " has mode ",
                                             Octal(info.st_mode & 07777),
                                             "; others may not write to it (chmod go-w)"));
  }
  return absl::OkStatus();
}

// ---- processes ---------------------------------------------------------------------------------

std::optional<std::string> ReadSmallFile(int dir, const std::string& path) {
  UniqueFd fd(openat(dir, path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) return std::nullopt;
  char buffer[1024];
  const ssize_t n = pread(fd.get(), buffer, sizeof buffer, 0);
  if (n < 0) return std::nullopt;
  return std::string(buffer, static_cast<size_t>(n));
}

LockOwner ParseLockOwner(std::string_view text) {
  LockOwner owner;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.starts_with("pid ")) owner.pid = ParseNumber<pid_t>(line.substr(4)).value_or(0);
    if (line.starts_with("start ")) owner.start_time = ParseNumber<uint64_t>(line.substr(6)).value_or(0);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (owner.pid < 0) owner.pid = 0;
  if (owner.pid == 0) return owner;
  owner.alive = ProcessAlive(owner.pid, owner.start_time);
  return owner;
}

// ---- locks -------------------------------------------------------------------------------------

bool TryLock(int fd) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

// Whether `path` in `dir` is still the file behind `fd`: another may have removed it before we had its lock.
bool SameFile(int fd, int dir, const char* path) {
  struct stat mine, there;
  return fstat(fd, &mine) == 0 && fstatat(dir, path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
         mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

// Removes the files of a name whose lock we hold. Only what its servers make: sockets, FIFOs, snapshot files;
// no socket that anybody answers on; and what a ledger of theirs names. False: some of that is not here.
bool RemoveLeftOvers(const std::string& base) {
  struct stat ledger;
  const std::string ledger_path = Cat(base, shm::kLedgerSuffix);
  bool whole = lstat(ledger_path.c_str(), &ledger) != 0 || shm::SweepLedger(ledger_path);
  for (std::string_view suffix : kSuffixes) {
    const std::string path = Cat(base, suffix);
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) continue;
    if (S_ISREG(info.st_mode)) {
      if (suffix == snapshot::kSuffix || suffix == snapshot::kNewSuffix) {
        whole = snapshot::RemoveDead(path) && whole;
      } else {
        rendezvous::RemoveDeadPlace(path);
      }
      continue;
    }
    const bool ours = S_ISSOCK(info.st_mode) ? !ProbeSocket(path).listening : S_ISFIFO(info.st_mode);
    if (ours) unlink(path.c_str());
  }
  rendezvous::RemoveDeadPlace(base);  // of a path
  rendezvous::RemoveDeadPairs(base);
  return whole;
}

// Calls `each(dir, lock's file name, base)` for every name in `directory` whose owner is dead, holding its lock.
template <typename Each>
void ForEachDead(const std::string& directory, Each each) {
  DIR* dir = opendir(directory.c_str());
  if (dir == nullptr) return;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(kLockSuffix) || name.size() == kLockSuffix.size()) continue;
    UniqueFd fd(openat(dirfd(dir), entry->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info;
    if (!fd.valid() || fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (!TryLock(fd.get()) || !SameFile(fd.get(), dirfd(dir), entry->d_name)) continue;
    each(dirfd(dir), entry->d_name, Cat(directory, "/", name.substr(0, name.size() - kLockSuffix.size())));
  }
  closedir(dir);
}

struct HeldLock {
  UniqueFd fd;
  int users = 0;
  pid_t owner = 0;
};

// All locks of this process. Under one mutex, also while a lock is taken or dropped, so that two threads
// agree on whether this process has a name.
struct LockTable {
  std::mutex mu;
  std::map<std::string, HeldLock, std::less<>> held;
};

LockTable& Locks() {
  static auto* const table = new LockTable;
  return *table;
}

absl::Status OpenError(const std::string& path, int error) {
  if (error == EACCES || error == EPERM) {
    struct stat info;
    const std::string owner = lstat(path.c_str(), &info) == 0
                                  ? Cat(" (it belongs to uid ", info.st_uid, ", we are uid ", geteuid(), ")")
                                  : "";
    return absl::PermissionDeniedError(Cat("cannot open ", path, ": ", strerror(error), owner));
  }
  if (error == ENOENT || error == ENOTDIR) {
    return absl::FailedPreconditionError(Cat("cannot make ", path, ": there is no such directory"));
  }
  if (error == ELOOP) return absl::FailedPreconditionError(Cat(path, " is a symbolic link; remove it"));
  return absl::ErrnoToStatus(error, Cat("cannot open ", path));
}

absl::Status WriteOwner(int fd, const std::string& path) {
  const std::string text = Cat("pid ", getpid(), "\nstart ", ProcessStartTime(getpid()), "\n");
  if (ftruncate(fd, 0) == 0 && pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size())) {
    return absl::OkStatus();
  }
  return absl::ErrnoToStatus(errno, Cat("cannot write ", path));
}

// The lock of `path`, ours. `left_by_dead` tells whether a dead owner had been in the file.
absl::StatusOr<UniqueFd> AcquireLockFile(const std::string& path, bool& left_by_dead) {
  // A sweep holds a dead owner's lock for a moment, and a new owner is not in its file at once: neither
  // is a living owner yet, so look again for a short while.
  constexpr int64_t kPatienceNs = 200'000'000;
  const int64_t give_up = MonotonicNs() + kPatienceNs;
  while (true) {
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid()) return OpenError(path, errno);
    if (TryLock(fd.get())) {
      if (!SameFile(fd.get(), AT_FDCWD, path.c_str())) continue;
      struct stat info;
      left_by_dead = fstat(fd.get(), &info) == 0 && info.st_size > 0;
      RETURN_IF_ERROR(WriteOwner(fd.get(), path));
      return fd;
    }
    if (errno != EAGAIN && errno != EACCES) return absl::ErrnoToStatus(errno, Cat("cannot lock ", path));
    const std::optional<std::string> text = ReadSmallFile(AT_FDCWD, path);
    const LockOwner owner = ParseLockOwner(text.value_or(""));
    if (owner.alive || MonotonicNs() > give_up) {
      const std::string who = owner.alive      ? DescribeProcess(owner.pid)
                              : owner.pid != 0 ? Cat("a child of pid ", owner.pid, ", which is gone itself")
                                               : "a process that did not write its pid";
      return absl::AlreadyExistsError(Cat("the name is taken: ", who, " holds ", path));
    }
    const timespec pause = ToTimespec(1'000'000);
    nanosleep(&pause, nullptr);
  }
}

}  // namespace

absl::StatusOr<std::string> ServerDirectory() {
  std::string path = Environment("IPCRPC_RUNTIME_DIR");
  if (path.empty()) path = geteuid() == 0 ? std::string(kSystemDirectory) : UserDirectory();
  if (path.empty()) {
    return absl::FailedPreconditionError(Cat("no runtime directory to bind names in: we are uid ", geteuid(),
                                             " and XDG_RUNTIME_DIR is not set; use --runtime-dir or "
                                             "IPCRPC_RUNTIME_DIR, or RuntimeDirectory= in a systemd unit"));
  }
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (!path.starts_with('/')) {
    return absl::FailedPreconditionError(Cat("runtime directory '", path, "' is not an absolute path"));
  }
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    const int error = errno;
    const std::string what = Cat("cannot make the runtime directory ", path, ": ", strerror(error));
    if (error == EACCES || error == EPERM || error == EROFS) return absl::PermissionDeniedError(what);
    return absl::FailedPreconditionError(what);
  }
  RETURN_IF_ERROR(CheckDirectory(path));
  return path;
}

std::vector<std::string> ClientDirectories() {
  std::vector<std::string> directories;
  for (std::string path :
       {Environment("IPCRPC_RUNTIME_DIR"), UserDirectory(), std::string(kSystemDirectory)}) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    const bool known = std::find(directories.begin(), directories.end(), path) != directories.end();
    if (!path.empty() && !known) directories.push_back(path);
  }
  return directories;
}

absl::StatusOr<std::unique_ptr<NameLock>> NameLock::Take(const std::string& base, bool plain_name) {
  LockTable& table = Locks();
  const std::lock_guard lock(table.mu);
  const auto found = table.held.find(base);
  if (found != table.held.end() && found->second.owner == getpid()) {
    ++found->second.users;
    return std::unique_ptr<NameLock>(new NameLock(base));
  }
  bool left_by_dead = false;
  ASSIGN_OR_RETURN(UniqueFd fd, AcquireLockFile(Cat(base, kLockSuffix), left_by_dead));
  if (left_by_dead && plain_name) RemoveLeftOvers(base);
  if (left_by_dead && !plain_name) rendezvous::RemoveDeadPairs(base);
  table.held[base] = HeldLock{.fd = std::move(fd), .users = 1, .owner = getpid()};
  return std::unique_ptr<NameLock>(new NameLock(base));
}

absl::StatusOr<std::unique_ptr<NameLock>> NameLock::Adopt(const std::string& base, UniqueFd fd) {
  const std::string path = Cat(base, kLockSuffix);
  struct stat info;
  if (fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || !SameFile(fd.get(), AT_FDCWD, path.c_str())) {
    return absl::FailedPreconditionError(Cat("what was handed over is not the lock file ", path));
  }
  // Of the open file description that has the lock already, or of a name that nobody holds.
  if (!TryLock(fd.get())) return absl::FailedPreconditionError(Cat("what was handed over is not the lock of ", path));
  LockTable& table = Locks();
  const std::lock_guard lock(table.mu);
  HeldLock& held = table.held[base];
  if (held.owner != getpid()) held = HeldLock{.fd = std::move(fd), .users = 0, .owner = getpid()};
  ++held.users;
  return std::unique_ptr<NameLock>(new NameLock(base));
}

int NameLock::fd() const {
  LockTable& table = Locks();
  const std::lock_guard lock(table.mu);
  const auto found = table.held.find(base_);
  return found == table.held.end() || found->second.owner != getpid() ? -1 : found->second.fd.get();
}

absl::Status NameLock::Own() {
  const int lock_file = fd();
  if (lock_file < 0) return absl::FailedPreconditionError(Cat("the lock of ", base_, " is not ours"));
  RETURN_IF_ERROR(WriteOwner(lock_file, Cat(base_, kLockSuffix)));
  abandoned_ = false;
  return absl::OkStatus();
}

NameLock::~NameLock() {
  LockTable& table = Locks();
  const std::lock_guard lock(table.mu);
  const auto found = table.held.find(base_);
  if (found == table.held.end() || found->second.owner != getpid()) return;
  if (--found->second.users > 0) return;
  // Removed before the lock is dropped, so that whoever waits for it sees that its file is not the one any
  // more. Another holder in this process may have handed it over meanwhile.
  const std::string path = Cat(base_, kLockSuffix);
  const LockOwner owner = ParseLockOwner(ReadSmallFile(AT_FDCWD, path).value_or(""));
  const bool ours = !abandoned_ && (owner.pid == getpid() || owner.pid == 0);
  if (ours && SameFile(found->second.fd.get(), AT_FDCWD, path.c_str())) unlink(path.c_str());
  table.held.erase(found);
}

void SweepDirectory(const std::string& directory) {
  ForEachDead(directory, [](int dir, const char* lock_name, const std::string& base) {
    if (RemoveLeftOvers(base)) unlinkat(dir, lock_name, 0);
  });
  // Pairs that a client kept when the server had gone, and then died.
  for (const rendezvous::DeadPair& pair : rendezvous::FindDeadPairs(directory, "")) rendezvous::RemoveDeadPair(pair);
}

std::vector<std::string> NamesOfTheDead(const std::string& directory) {
  std::vector<std::string> names;
  ForEachDead(directory, [&](int, const char*, const std::string& base) { names.push_back(base); });
  return names;
}

namespace {

// Whether somebody holds the lock; asked without taking it, which a server that starts could notice.
bool IsLocked(int fd) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

std::string WhyDead(pid_t pid) {
  if (pid == 0) return "no process holds its lock";
  return Cat("pid ", pid, ProcessAlive(pid, 0) ? " no longer holds its lock" : " is gone");
}

void AddLeftOversOf(const std::string& base, pid_t pid, std::vector<LeftOver>& found) {
  const auto add = [&](std::string_view kind, std::string name) {
    found.push_back({.kind = kind, .name = std::move(name), .pid = pid, .why = WhyDead(pid)});
  };
  add("lock", Cat(base, kLockSuffix));
  for (const shm::LeftBehindBy& left : shm::ListLedger(Cat(base, shm::kLedgerSuffix))) add("memory", left.what.Describe());
  for (std::string_view suffix : kSuffixes) {
    const std::string path = Cat(base, suffix);
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) continue;
    if (S_ISSOCK(info.st_mode) && ProbeSocket(path).listening) continue;
    for (const shm::LeftBehindBy& left : shm::ListLedger(path)) add("memory", left.what.Describe());
    const std::optional<rendezvous::DeadPlace> place = rendezvous::FindDeadPlace(path);
    const bool snapshot = suffix == snapshot::kSuffix || suffix == snapshot::kNewSuffix;
    if (S_ISREG(info.st_mode) && !place && !snapshot) continue;
    add(snapshot ? "snap" : suffix.substr(1), place ? Cat(path, " (queue ", place->reference, ")") : path);
  }
  if (const auto place = rendezvous::FindDeadPlace(base)) {
    add(place->mechanism->scheme(), Cat(base, " (queue ", place->reference, ")"));
  }
}

void AddDeadPairs(const std::vector<rendezvous::DeadPair>& pairs, std::vector<LeftOver>& found) {
  for (const rendezvous::DeadPair& pair : pairs) {
    const rendezvous::Mechanism* mechanism = rendezvous::FindMechanism(pair.kind);
    const std::string what = mechanism == nullptr ? "" : Cat(" (", mechanism->scheme(), ")");
    found.push_back({.kind = "pair", .name = pair.stem + what, .pid = pair.server_pid,
                     .why = "neither its server nor its client holds it"});
  }
}

}  // namespace

std::vector<LeftOver> FindLeftOvers(const std::string& directory) {
  std::vector<LeftOver> found;
  DIR* dir = opendir(directory.c_str());
  if (dir == nullptr) return found;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(kLockSuffix) || name.size() == kLockSuffix.size()) continue;
    UniqueFd fd(openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info;
    if (!fd.valid() || fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || IsLocked(fd.get())) continue;
    const LockOwner owner = ParseLockOwner(ReadSmallFile(dirfd(dir), entry->d_name).value_or(""));
    const std::string base = Cat(directory, "/", name.substr(0, name.size() - kLockSuffix.size()));
    AddLeftOversOf(base, owner.pid, found);
    AddDeadPairs(rendezvous::FindDeadPairs(directory, base), found);
  }
  closedir(dir);
  AddDeadPairs(rendezvous::FindDeadPairs(directory, ""), found);
  return found;
}

SocketOwner ProbeSocket(const std::string& path) {
  absl::StatusOr<UnixSocketAddress> address = UnixSocketAddress::ForFile(path);
  if (!address.ok()) return {.listening = true};
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return {.listening = true};
  if (connect(fd.get(), address->get(), address->size()) != 0) {
    // EPROTOTYPE: alive, of another type; EAGAIN: alive, with a full backlog.
    return {.listening = errno != ECONNREFUSED && errno != ENOENT};
  }
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) peer.pid = 0;
  return {.listening = true, .pid = peer.pid};
}

std::string DescribeProcess(pid_t pid) {
  if (pid == 0) return "a process that we cannot see";
  std::optional<std::string> command = ReadSmallFile(AT_FDCWD, Cat("/proc/", pid, "/comm"));
  if (!command) return Cat("pid ", pid);
  absl::StripAsciiWhitespace(&*command);
  return Cat("pid ", pid, " (", *command, ")");
}

}  // namespace ipcrpc
