#include "transport/shm/mapping.h"

#include <sys/mman.h>

#include <boost/interprocess/mapped_region.hpp>
#include <boost/interprocess/xsi_shared_memory.hpp>
#include <utility>

#include "transport/base/bus_guard.h"
#include "transport/base/fork_guard.h"
#include "transport/base/strings.h"

namespace ipcrpc::shm {
namespace {

namespace bip = boost::interprocess;

// What Boost maps: a descriptor that was checked before.
struct File {
  int fd;
  bip::mapping_handle_t get_mapping_handle() const { return bip::ipcdetail::mapping_handle_from_file_handle(fd); }
};

bip::mode_t ModeOf(Mapping::Access access) {
  switch (access) {
    case Mapping::Access::kRead:
      return bip::read_only;
    case Mapping::Access::kReadPrivate:
      return bip::read_private;
    case Mapping::Access::kReadWrite:
      break;
  }
  return bip::read_write;
}

template <typename Mappable>
absl::StatusOr<bip::mapped_region> Map(const Mappable& what, size_t size, Mapping::Access access) {
  try {
    bip::mapped_region region(what, ModeOf(access), 0, size);
    madvise(region.get_address(), size, MADV_DONTFORK);
    return region;
  } catch (const bip::interprocess_exception& error) {
    return absl::ErrnoToStatus(error.get_native_error(), Cat("cannot map ", size, " bytes of shared memory"));
  }
}

}  // namespace

struct Mapping::Region {
  explicit Region(bip::mapped_region map) : region(std::make_unique<bip::mapped_region>(std::move(map))) {}
  // In a forked child the mapping does not exist, and its place may be another's.
  ~Region() {
    guard = BusGuard();
    if (!fork_guard.ours()) [[maybe_unused]] auto* left = region.release();
  }

  std::unique_ptr<bip::mapped_region> region;
  BusGuard guard;
  const ForkGuard fork_guard;
};

Mapping::Mapping(std::shared_ptr<Region> region)
    : region_(std::move(region)),
      data_(static_cast<std::byte*>(region_->region->get_address())),
      size_(region_->region->get_size()) {}

absl::StatusOr<Mapping> Mapping::OfFile(int fd, size_t size, Access access, Size cuttable) {
  absl::StatusOr<bip::mapped_region> mapped = Map(File{fd}, size, access);
  if (!mapped.ok()) return mapped.status();
  auto region = std::make_shared<Region>(*std::move(mapped));
  if (cuttable == Size::kCuttable) {
    region->guard = BusGuard(region->region->get_address(), size,
                             access == Access::kReadWrite ? BusGuard::Access::kReadWrite : BusGuard::Access::kRead);
  }
  return Mapping(std::move(region));
}

absl::StatusOr<Mapping> Mapping::OfSysv(int id, size_t size, Access access) {
  absl::StatusOr<bip::mapped_region> mapped = Map(bip::xsi_shared_memory(bip::open_only, id), size, access);
  if (!mapped.ok()) return mapped.status();
  return Mapping(std::make_shared<Region>(*std::move(mapped)));
}

bool Mapping::broken() const { return region_ != nullptr && region_->guard.broken(); }

void Mapping::Inherit() const { madvise(data_, size_, MADV_DOFORK); }

std::weak_ptr<void> Mapping::watch() const { return region_; }

Mapping Mapping::Again(const std::weak_ptr<void>& watch) {
  std::shared_ptr<void> region = watch.lock();
  return region == nullptr ? Mapping() : Mapping(std::static_pointer_cast<Region>(std::move(region)));
}

}  // namespace ipcrpc::shm
