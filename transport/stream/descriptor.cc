#include "transport/stream/descriptor.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "transport/base/direct_io.h"
#include "transport/base/features.h"
#include "transport/base/own_thread.h"
#include "transport/base/strings.h"

namespace ipcrpc::stream {
namespace {

bool IsReady(int fd, short events) {
  pollfd ask = {.fd = fd, .events = events, .revents = 0};
  return poll(&ask, 1, 0) == 1;
}

// write() without SIGPIPE: blocked for this thread, and taken back if it was ours.
ssize_t WriteWithoutSignal(int fd, const std::byte* from, size_t size) {
  if (is_own_thread) return write(fd, from, size);  // blocked there, and waited for by nobody
  sigset_t pipe_signal, before, pending;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  // Where it was not blocked, none of this thread's own can be pending; one of the process's is left, as ours is taken first.
  const bool was_blocked = sigismember(&before, SIGPIPE) == 1;
  const bool was_pending = was_blocked && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
  const ssize_t written = write(fd, from, size);
  const int error = errno;
  if (written < 0 && error == EPIPE && !was_pending) {
    const timespec now = {};
    while (sigtimedwait(&pipe_signal, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  if (!was_blocked) pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return written;
}

UniqueFd OpenAnew(int fd, int access) {
  return UniqueFd(open(Cat("/proc/self/fd/", fd).c_str(), access | O_NONBLOCK | O_CLOEXEC));
}

}  // namespace

StreamDescriptor::StreamDescriptor(UniqueFd fd, Use use) : fd_(std::move(fd)) {
  struct stat info;
  if (use == Use::kOwn) {
    kind_ = Kind::kOwn;
  } else if (use == Use::kOwnWrite) {
    kind_ = Kind::kOwn;
    may_raise_ = false;
    if (UniqueFd writer = OpenAnew(fd_.get(), O_WRONLY); writer.valid()) reader_ = std::exchange(fd_, std::move(writer));
  } else if (fstat(fd_.get(), &info) == 0 && S_ISSOCK(info.st_mode)) {
    kind_ = Kind::kSocket;
  } else if (S_ISFIFO(info.st_mode) && use != Use::kBoth && FeatureAllowed("pipe_reopen")) {
    Reopen(use);
  }
}

void StreamDescriptor::Reopen(Use use) {
  if (use == Use::kWrite) {
    reader_ = OpenAnew(fd_.get(), O_RDONLY);
    may_raise_ = !reader_.valid();
  }
  UniqueFd own = OpenAnew(fd_.get(), use == Use::kRead ? O_RDONLY : O_WRONLY);
  if (!own.valid()) return;
  fd_ = std::move(own);
  kind_ = Kind::kOwn;
}

ssize_t StreamDescriptor::Read(std::byte* to, size_t size) const {
  while (true) {
    if (kind_ == Kind::kAskFirst && !IsReady(fd_.get(), POLLIN)) {
      errno = EAGAIN;
      return -1;
    }
    const ssize_t n =
        kind_ == Kind::kSocket ? recv(fd_.get(), to, size, MSG_DONTWAIT) : DirectRead(fd_.get(), to, size);
    if (n >= 0 || errno != EINTR) return n;
  }
}

ssize_t StreamDescriptor::Write(const std::byte* from, size_t size) const {
  while (true) {
    if (kind_ == Kind::kAskFirst) {
      if (!IsReady(fd_.get(), POLLOUT)) {
        errno = EAGAIN;
        return -1;
      }
      // That much a writable pipe takes without blocking.
      size = std::min<size_t>(size, PIPE_BUF);
    }
    const ssize_t n = kind_ == Kind::kSocket ? send(fd_.get(), from, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                      : may_raise_           ? WriteWithoutSignal(fd_.get(), from, size)
                                             : DirectWrite(fd_.get(), from, size);
    if (n >= 0 || errno != EINTR) return n;
  }
}

void StreamDescriptor::Hangup() {
  if (!fd_.valid()) return;
  if (kind_ == Kind::kSocket) {
    shutdown(fd_.get(), SHUT_RDWR);
    return;
  }
  KillDescriptor(fd_.get());
  reader_.reset();
}

void KillDescriptor(int fd) {
  UniqueFd dead(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (dead.valid()) dup3(dead.get(), fd, O_CLOEXEC);
}

}  // namespace ipcrpc::stream
