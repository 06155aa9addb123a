// A POSIX semaphore in a page of its own that both sides can write: memory of the kind of the segment.
#include <errno.h>
#include <semaphore.h>

#include <cstring>
#include <new>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/bell_kind.h"

namespace ipcrpc::shm {
namespace {

struct Page {
  uint64_t magic;  // that it is such a page
  sem_t semaphore;
};
constexpr uint64_t kPageMagic = 0x3130'6d65'7363'7069;  // "ipcsem01", little-endian
constexpr size_t kPageBytes = 4096;
// A peer that rings faster than rings are taken is not waited for.
constexpr int kMostRings = 65'536;

class SemaphoreBell final : public Bell {
 public:
  explicit SemaphoreBell(Mapping mapping) : mapping_(std::move(mapping)), page_(reinterpret_cast<Page*>(mapping_.data())) {}

  bool Wait(int64_t deadline_ns) override {
    const timespec until = ToTimespec(SliceEnd(deadline_ns));
    if (sem_clockwait(&page_->semaphore, CLOCK_MONOTONIC, &until) == 0) {
      for (int i = 0; i < kMostRings && sem_trywait(&page_->semaphore) == 0; ++i) {
      }
    } else if (errno != ETIMEDOUT && errno != EINTR) {
      return false;
    }
    return !mapping_.broken();
  }
  void Ring() override { sem_post(&page_->semaphore); }  // EOVERFLOW: it holds all it can

 private:
  const Mapping mapping_;
  Page* const page_;
};

absl::StatusOr<OwnBell> Make(const Parts& parts) {
  // A page, whatever the segment is to be.
  const Parts small = {.segment = parts.segment, .wake = parts.wake, .ledger = parts.ledger};
  ASSIGN_OR_RETURN(OwnMemory memory, MakeMemory(small, kPageBytes, Sharing::kBothWrite));
  auto* const page = new (memory.mapping.data()) Page();
  if (sem_init(&page->semaphore, /*pshared=*/1, 0) != 0) return absl::ErrnoToStatus(errno, "cannot make a semaphore (wake=sem)");
  page->magic = kPageMagic;
  return OwnBell{.bell = std::make_unique<SemaphoreBell>(std::move(memory.mapping)),
                 .place = {.fd = std::move(memory.place.fd), .id = memory.place.id}};
}

absl::StatusOr<std::unique_ptr<Bell>> Take(SegmentKind segment, BellPlace place) {
  const MemoryPlace memory = {.fd = std::move(place.fd), .id = place.id};
  ASSIGN_OR_RETURN(Mapping mapping, MapPeerMemory({.segment = segment}, memory, kPageBytes, Sharing::kBothWrite));
  if (reinterpret_cast<const Page*>(mapping.data())->magic != kPageMagic) {
    return absl::InvalidArgumentError("the page that the peer sent to be woken by (wake=sem) has no semaphore in it");
  }
  return std::make_unique<SemaphoreBell>(std::move(mapping));
}

}  // namespace

const BellKind kSemaphoreBell = {.make = Make, .take = Take};

}  // namespace ipcrpc::shm
