#include "transport/inherited/adopt.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

constexpr int kFirstPrivateNumber = 3;

// The reading end of a pipe that nobody writes to: reading finds the end, writing fails, and fstat() knows it from
// everything else.
int StandIn() {
  static const int fd = [] {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    close(ends[1]);
    const int high = fcntl(ends[0], F_DUPFD_CLOEXEC, kFirstPrivateNumber);
    close(ends[0]);
    return high;
  }();
  return fd;
}

std::string_view KindOf(const struct stat& info) {
  if (S_ISREG(info.st_mode)) return "a file";
  if (S_ISDIR(info.st_mode)) return "a directory";
  if (S_ISBLK(info.st_mode)) return "a block device";
  if (S_ISCHR(info.st_mode)) return info.st_rdev == makedev(1, 3) ? "/dev/null" : "a character device";
  return "an object of the kernel that carries no stream";
}

absl::Status CheckSocket(int number, std::string_view name) {
  int type = 0, listens = 0;
  socklen_t size = sizeof type;
  getsockopt(number, SOL_SOCKET, SO_TYPE, &type, &size);
  if (type != SOCK_STREAM) {
    return absl::FailedPreconditionError(Cat(name, " is a socket that is no byte stream; SOCK_STREAM is expected"));
  }
  size = sizeof listens;
  if (getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0) {
    return absl::FailedPreconditionError(Cat(name, " is a listening socket; a connected one is expected"));
  }
  sockaddr_storage peer;
  size = sizeof peer;
  if (getpeername(number, reinterpret_cast<sockaddr*>(&peer), &size) != 0 && errno == ENOTCONN) {
    return absl::FailedPreconditionError(Cat(name, " is a socket that is not connected, or not any more"));
  }
  return absl::OkStatus();
}

}  // namespace

bool SameFile(int a, int b) {
  struct stat first, second;
  return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

bool IsSocket(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

absl::Status CheckAdoptable(int number, AdoptFor use, std::string_view name) {
  struct stat info;
  const int flags = fcntl(number, F_GETFL);
  if (flags < 0 || fstat(number, &info) != 0) {
    return absl::FailedPreconditionError(Cat(name, " is not open in this process"));
  }
  if (SameFile(number, StandIn())) {
    return absl::FailedPreconditionError(Cat(name, " has carried a link already, and is good for one only"));
  }
  if (S_ISSOCK(info.st_mode)) return CheckSocket(number, name);
  if (isatty(number) == 1) {
    return absl::FailedPreconditionError(
        Cat(name, " is a terminal, where nobody speaks the protocol; a pipe or a socket is expected, as exec: gives"));
  }
  if (!S_ISFIFO(info.st_mode)) {
    return absl::FailedPreconditionError(Cat(name, " is ", KindOf(info), "; a pipe or a socket is expected"));
  }
  const int access = flags & O_ACCMODE;
  const std::string_view wanted = use == AdoptFor::kReading ? "reading" : "writing";
  if (use == AdoptFor::kBoth || (flags & O_PATH) != 0) {
    return absl::FailedPreconditionError(Cat(name, " is a pipe, which goes one way; a socket is expected"));
  }
  if (access != O_RDWR && access != (use == AdoptFor::kReading ? O_RDONLY : O_WRONLY)) {
    return absl::FailedPreconditionError(Cat(name, " is the wrong end of a pipe: it is not open for ", wanted));
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> Adopt(int number, std::string_view name, int successor) {
  UniqueFd own(fcntl(number, F_DUPFD_CLOEXEC, kFirstPrivateNumber));
  if (successor < 0) successor = StandIn();
  const int flags = number <= STDERR_FILENO ? 0 : O_CLOEXEC;  // the standard ones are never to be missing
  if (!own.valid() || successor < 0 || dup3(successor, number, flags) < 0) {
    return absl::ResourceExhaustedError(Cat("cannot take over ", name, ": ", strerror(errno)));
  }
  return own;
}

}  // namespace ipcrpc
