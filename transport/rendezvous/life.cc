#include "transport/rendezvous/life.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>

#include "transport/base/clock.h"
#include "transport/base/features.h"

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

PeerWatch::PeerWatch(UniqueFd file, Side own, pid_t peer_pid)
    : file_(std::move(file)), own_(own), event_(OpenPidfd(peer_pid)) {
  if (event_.valid()) return;
  is_timer_ = true;
  event_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  itimerspec when = {};
  when.it_value = when.it_interval = ToTimespec(kLookEveryNs);
  timerfd_settime(event_.get(), 0, &when, nullptr);
}

bool PeerWatch::Died() {
  if (!is_timer_) return true;
  uint64_t expirations;
  [[maybe_unused]] const ssize_t ignored = read(event_.get(), &expirations, sizeof expirations);
  return PeerLeft();
}

}  // namespace ipcrpc::rendezvous
