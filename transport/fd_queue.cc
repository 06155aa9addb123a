#include "transport/fd_queue.h"

#include <utility>

#include "transport/base/strings.h"

namespace ipcrpc {

bool FdQueue::Push(ArrivedFds parcel) {
  if (full() || parcel.too_many) {
    CloseElsewhere(std::move(parcel.fds));
    return false;
  }
  // What is not whole is of no use to anybody, and its numbers are wanted.
  if (parcel.lost) CloseElsewhere(std::exchange(parcel.fds, {}));
  pushed_ = ParcelAfter(pushed_);
  waiting_.push_back(std::move(parcel));
  return true;
}

absl::StatusOr<std::vector<UniqueFd>> FdQueue::Take(uint32_t number, size_t count) {
  if (waiting_.empty() || number != ParcelAfter(taken_)) {
    return absl::InvalidArgumentError(Cat("a frame announces parcel ", number, " of descriptors, which did not come"));
  }
  ArrivedFds parcel = std::move(waiting_.front());
  waiting_.pop_front();
  taken_ = number;
  if (parcel.lost) {
    return absl::ResourceExhaustedError(
        Cat("no file descriptor is free for the ", count, " that came with a message: the process is at its limit of open files"));
  }
  if (parcel.fds.size() != count) {
    const size_t came = parcel.fds.size();
    CloseElsewhere(std::move(parcel.fds));
    return absl::InvalidArgumentError(Cat("a frame announces ", count, " descriptors where ", came, " came"));
  }
  return std::move(parcel.fds);
}

void FdQueue::Clear() {
  for (ArrivedFds& parcel : waiting_) {
    CloseElsewhere(std::move(parcel.fds));
    taken_ = ParcelAfter(taken_);
  }
  waiting_.clear();
}

}  // namespace ipcrpc
