// An eventfd. Its owner also has one that the peer does not know, so that nobody can take a Kick() from it.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>

#include "transport/base/strings.h"
#include "transport/shm/bell_kind.h"

namespace ipcrpc::shm {
namespace {

UniqueFd NewEventfd() { return UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

class EventfdBell final : public Bell {
 public:
  EventfdBell(UniqueFd shared, UniqueFd own) : shared_(std::move(shared)), own_(std::move(own)) {}

  bool Wait(int64_t deadline_ns) override {
    pollfd entries[] = {{.fd = shared_.get(), .events = POLLIN, .revents = 0}, {.fd = own_.get(), .events = POLLIN, .revents = 0}};
    const timespec left = ToTimespec(deadline_ns == kNoDeadline ? 0 : deadline_ns - MonotonicNs());
    if (ppoll(entries, 2, deadline_ns == kNoDeadline ? nullptr : &left, nullptr) <= 0) return true;
    for (const pollfd& entry : entries) {
      if (entry.revents != 0) Take(entry.fd);
    }
    return true;
  }
  void Kick() override { Ring(own_.get()); }
  void Ring() override { Ring(shared_.get()); }

 private:
  static void Ring(int fd) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = write(fd, &one, sizeof one);  // EAGAIN: it holds all it can
  }
  // RWF_NOWAIT: the peer could have taken it, and made the descriptor a blocking one.
  static void Take(int fd) {
    uint64_t count;
    const iovec piece = {.iov_base = &count, .iov_len = sizeof count};
    [[maybe_unused]] const ssize_t ignored = preadv2(fd, &piece, 1, -1, RWF_NOWAIT);
  }

  const UniqueFd shared_;
  const UniqueFd own_;  // invalid on the ringing side
};

absl::StatusOr<OwnBell> Make(const Parts&) {
  UniqueFd shared = NewEventfd(), own = NewEventfd();
  if (!shared.valid() || !own.valid()) return absl::ErrnoToStatus(errno, "cannot make an eventfd (wake=eventfd)");
  OwnBell made;
  made.place.fd.reset(fcntl(shared.get(), F_DUPFD_CLOEXEC, 0));
  if (!made.place.fd.valid()) return absl::ErrnoToStatus(errno, "cannot pass on an eventfd (wake=eventfd)");
  made.bell = std::make_unique<EventfdBell>(std::move(shared), std::move(own));
  return made;
}

// The descriptor must be an eventfd: writing to something else could block, or do anything.
bool IsEventfd(int fd) {
  char target[64];
  const ssize_t size = readlink(Cat("/proc/self/fd/", fd).c_str(), target, sizeof target);
  return size > 0 && std::string_view(target, static_cast<size_t>(size)) == "anon_inode:[eventfd]";
}

absl::StatusOr<std::unique_ptr<Bell>> Take(SegmentKind, BellPlace place) {
  const int fd = place.fd.get();
  if (!IsEventfd(fd) || (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0) {
    return absl::InvalidArgumentError("what the peer sent to be woken by (wake=eventfd) is not a non-blocking eventfd");
  }
  return std::make_unique<EventfdBell>(std::move(place.fd), UniqueFd());
}

}  // namespace

const BellKind kEventfdBell = {.make = Make, .take = Take};

}  // namespace ipcrpc::shm
