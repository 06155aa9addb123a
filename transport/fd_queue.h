// Descriptors on their way to a frame: what a link has received and the frames that announce them have not taken yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/base/queue.h"
#include "transport/base/scm_rights.h"

namespace ipcrpc {

// Parcels of descriptors, each for one frame, in the order in which they were sent. A parcel has a number, counted from 1 by
// the sender; 0 is none.
constexpr uint32_t ParcelAfter(uint32_t number) { return number == UINT32_MAX ? 1 : number + 1; }

// Does not lock. Belongs to the holder of a link's receive role.
class FdQueue {
 public:
  // So many parcels may wait for their frames.
  explicit FdQueue(size_t limit) : limit_(limit) {}
  ~FdQueue() { Clear(); }
  FdQueue(const FdQueue&) = delete;
  FdQueue& operator=(const FdQueue&) = delete;

  bool empty() const { return waiting_.empty(); }
  bool full() const { return waiting_.size() >= limit_; }
  // Of the parcel that Push() is due to be given.
  uint32_t next_number() const { return ParcelAfter(pushed_); }
  // False: it is more than an honest peer sends.
  [[nodiscard]] bool Push(ArrivedFds parcel);
  // For Link::TakeFds().
  absl::StatusOr<std::vector<UniqueFd>> Take(uint32_t number, size_t count);
  // Closes what waits.
  void Clear();

 private:
  const size_t limit_;
  Queue<ArrivedFds> waiting_;
  uint32_t pushed_ = 0, taken_ = 0;
};

}  // namespace ipcrpc
