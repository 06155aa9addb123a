#include "transport/rendezvous/life.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>

#include "transport/base/clock.h"
#include "transport/base/features.h"
#include "transport/base/strings.h"
#include "transport/rendezvous/place.h"
#include "transport/stream/descriptor.h"

namespace ipcrpc::rendezvous {
namespace {

constexpr int64_t kLookEveryNs = 50'000'000;

struct flock LockOf(Side side, short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = side == Side::kServer ? 0 : 1;
  lock.l_len = 1;
  return lock;
}

UniqueFd OpenPidfd(pid_t pid) {
  if (pid <= 0 || !FeatureAllowed("pidfd_open")) return UniqueFd();
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));  // close-on-exec
}

}  // namespace

bool Alive(int fd, Side side) {
  // What would be in the way of this lock is the living side's.
  struct flock lock = LockOf(side, side == Side::kServer ? F_RDLCK : F_WRLCK);
  return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

bool TakeLife(int fd, Side side) {
  struct flock lock = LockOf(side, side == Side::kServer ? F_WRLCK : F_RDLCK);
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

void DropLife(int fd, Side side) {
  struct flock lock = LockOf(side, F_UNLCK);
  fcntl(fd, F_OFD_SETLK, &lock);
}

std::string LifeFifoOf(const std::string& stem) { return Cat(stem, ".life"); }

UniqueFd MakeLifeFifo(const std::string& stem, const Access& access) {
  const std::string path = LifeFifoOf(stem);
  if (!FeatureAllowed("life_fifo") || mkfifo(path.c_str(), 0600) != 0) return UniqueFd();
  UniqueFd fifo(open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!fifo.valid() || !Grant(fifo.get(), access, path).ok()) fifo.reset();
  if (!fifo.valid()) unlink(path.c_str());
  return fifo;
}

UniqueFd OpenLifeFifo(const std::string& stem, Side side) {
  if (!FeatureAllowed("life_fifo")) return UniqueFd();
  // For writing it fails when nobody has it open for reading.
  const int access = side == Side::kServer ? O_WRONLY : O_RDONLY;
  UniqueFd fifo(open(LifeFifoOf(stem).c_str(), access | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY));
  struct stat info;
  if (fifo.valid() && (fstat(fifo.get(), &info) != 0 || !S_ISFIFO(info.st_mode))) fifo.reset();
  return fifo;
}

PeerWatch::PeerWatch(UniqueFd file, Side own, UniqueFd fifo, pid_t peer_pid)
    : file_(std::move(file)), own_(own), is_fifo_(fifo.valid()), event_(std::move(fifo)) {
  if (!is_fifo_) event_ = OpenPidfd(peer_pid);
  if (event_.valid()) return;
  is_timer_ = true;
  event_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  itimerspec when = {};
  when.it_value = when.it_interval = ToTimespec(kLookEveryNs);
  timerfd_settime(event_.get(), 0, &when, nullptr);
}

bool PeerWatch::Died() {
  if (is_timer_) {
    uint64_t expirations;
    [[maybe_unused]] const ssize_t ignored = read(event_.get(), &expirations, sizeof expirations);
    return PeerLeft();
  }
  // A FIFO that had no writer any more when it was opened never reports a hang-up; but it is at its end.
  char none;
  if (is_fifo_ && own_ == Side::kClient) return read(event_.get(), &none, 1) == 0;
  pollfd ask = {.fd = event_.get(), .events = POLLIN, .revents = 0};
  return poll(&ask, 1, 0) == 1;
}

void PeerWatch::Leave() {
  DropLife(file_.get(), own_);
  if (is_fifo_) stream::KillDescriptor(event_.get());
}

}  // namespace ipcrpc::rendezvous
