#include "transport/snapshot/memfd_home.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "transport/base/fork_guard.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/memory.h"
#include "transport/snapshot/segment.h"

namespace ipcrpc::snapshot {
namespace {

using shm::OwnMemory;

class MemfdHome final : public Home {
 public:
  ~MemfdHome() override {
    if (fork_guard_.ours() && placed_.mapping.data() != nullptr) MarkMoved(placed_.mapping);
  }

  absl::StatusOr<Mapping> NewMemory(uint64_t size) override {
    ASSIGN_OR_RETURN(pending_, shm::MakeMemory({}, size, shm::Sharing::kPeerReads));
    return pending_.mapping;
  }
  absl::Status Place() override {
    // Only the next one is handed out from now on; so who sees the mark and asks gets that.
    const OwnMemory before = std::exchange(placed_, std::move(pending_));
    if (before.mapping.data() != nullptr) MarkMoved(before.mapping);
    return absl::OkStatus();
  }
  std::string path() const override { return ""; }
  UniqueFd Share() const override { return UniqueFd::DuplicateOf(placed_.place.fd.get()); }

 private:
  OwnMemory pending_;
  OwnMemory placed_;
  const ForkGuard fork_guard_;
};

}  // namespace

std::unique_ptr<Home> MakeMemfdHome() { return std::make_unique<MemfdHome>(); }

absl::StatusOr<Mapping> MapMemfd(UniqueFd fd) {
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, "cannot examine the snapshot that was handed out");
  const auto size = static_cast<uint64_t>(info.st_size);
  // Sealed memory is in whole pages.
  if (!S_ISREG(info.st_mode) || size == 0 || size > shm::MemoryBytes(kMaxSegmentBytes, shm::kPageShift)) {
    return absl::InvalidArgumentError(Cat("what was handed out as a snapshot is not one: it has ", size, " bytes"));
  }
  return shm::MapPeerMemory({}, {.fd = std::move(fd)}, size, shm::Sharing::kPeerReads);
}

}  // namespace ipcrpc::snapshot
