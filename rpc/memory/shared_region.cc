#include "rpc/memory/shared_region.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <limits>
#include <mutex>
#include <string_view>
#include <utility>

#include "transport/base/memfd.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc::rpc {
namespace {

using shm::Mapping;

// Whoever reads it maps all of it.
constexpr uint64_t kMaxBytes = uint64_t{1} << 32;

// Nobody can change its size, nor, by another mapping than that of its maker, its bytes.
constexpr int kPoolSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
// All that matters to who reads it: further seals may come.
constexpr int kSealedSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

absl::Status CheckSize(uint64_t bytes) {
  if (bytes == 0) return absl::InvalidArgumentError("shared memory of no bytes is wanted");
  if (bytes > kMaxBytes) {
    return absl::InvalidArgumentError(Cat("shared memory of ", bytes, " bytes is wanted; it may have ", kMaxBytes));
  }
  return absl::OkStatus();
}

// What there can never be is asked for here: the kernel would find that out page by page, and end a process for the last one.
absl::Status CheckMemory(uint64_t bytes) {
  struct sysinfo system;
  if (sysinfo(&system) != 0) return absl::OkStatus();
  const uint64_t most = (uint64_t{system.totalram} + system.totalswap) * system.mem_unit;
  if (bytes <= most) return absl::OkStatus();
  return absl::ResourceExhaustedError(Cat("this machine has no ", bytes, " bytes of memory, but ", most));
}

struct Made {
  UniqueFd fd;
  Mapping mapping;
};

// Zeroed, with all its pages, not sealed yet: sealed memory takes no more of them.
absl::StatusOr<Made> Make(size_t bytes) {
  RETURN_IF_ERROR(CheckSize(bytes));
  RETURN_IF_ERROR(CheckMemory(bytes));
  Made made;
  ASSIGN_OR_RETURN(made.fd, MakeMemfd(0, ", and with it memory that messages are sent from without a copy"));
  int error = 0;
  while ((error = posix_fallocate(made.fd.get(), 0, static_cast<off_t>(bytes))) == EINTR) {
  }
  if (error != 0) return absl::ErrnoToStatus(error, Cat("no ", bytes, " bytes of shared memory"));
  ASSIGN_OR_RETURN(made.mapping, Mapping::OfFile(made.fd.get(), bytes, Mapping::Access::kReadWrite, Mapping::Size::kSealed));
  return made;
}

absl::Status Seal(int fd, int seals) {
  if (fcntl(fd, F_ADD_SEALS, seals) != 0) return absl::ErrnoToStatus(errno, "cannot seal shared memory");
  return absl::OkStatus();
}

// Once here, so that no message waits for it.
void EnterPages(const Mapping& mapping) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (size_t at = 0; at < mapping.size(); at += page) *reinterpret_cast<volatile std::byte*>(mapping.data() + at) = std::byte{0};
}

}  // namespace

// Without the lock, which whoever is told may want.
SharedRegion::~SharedRegion() {
  std::map<uint64_t, std::function<void()>> at_end;
  {
    std::lock_guard lock(mu_);
    at_end.swap(at_end_);
  }
  for (const auto& [which, run] : at_end) run();
}

uint64_t SharedRegion::AtEnd(std::function<void()> run) const {
  std::lock_guard lock(mu_);
  at_end_.emplace(++last_at_end_, std::move(run));
  return last_at_end_;
}

void SharedRegion::NotAtEnd(uint64_t which) const {
  std::function<void()> forgotten;  // goes after the lock
  std::lock_guard lock(mu_);
  const auto it = at_end_.find(which);
  if (it == at_end_.end()) return;
  forgotten = std::move(it->second);
  at_end_.erase(it);
}

absl::StatusOr<std::shared_ptr<SharedRegion>> SharedRegion::MakePool(size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (bytes <= kMaxBytes) bytes = (bytes + page - 1) / page * page;
  ASSIGN_OR_RETURN(Made made, Make(bytes));
  EnterPages(made.mapping);
  RETURN_IF_ERROR(Seal(made.fd.get(), kPoolSeals));
  return std::shared_ptr<SharedRegion>(new SharedRegion(Kind::kPool, std::move(made.fd), std::move(made.mapping)));
}

absl::StatusOr<std::shared_ptr<SharedRegion>> SharedRegion::MakeSealed(size_t bytes,
                                                                       const std::function<void(std::span<std::byte>)>& fill) {
  ASSIGN_OR_RETURN(Made made, Make(bytes));
  fill({made.mapping.data(), bytes});
  made.mapping = Mapping();  // or there is a mapping that can write, and F_SEAL_WRITE is refused
  RETURN_IF_ERROR(Seal(made.fd.get(), kSealedSeals | F_SEAL_SEAL));
  ASSIGN_OR_RETURN(made.mapping, Mapping::OfFile(made.fd.get(), bytes, Mapping::Access::kReadPrivate, Mapping::Size::kSealed));
  return std::shared_ptr<SharedRegion>(new SharedRegion(Kind::kSealed, std::move(made.fd), std::move(made.mapping)));
}

absl::StatusOr<std::shared_ptr<SharedRegion>> SharedRegion::Map(Kind kind, UniqueFd fd, uint64_t bytes) {
  constexpr std::string_view kName = "the shared memory of messages";
  ASSIGN_OR_RETURN(const MemfdFacts facts, ExamineMemfd(fd.get(), kind == Kind::kPool ? kPoolSeals : kSealedSeals, kName));
  if (bytes != 0 && facts.size_bytes != bytes) {
    return absl::InvalidArgumentError(Cat(kName, " has ", facts.size_bytes, " bytes where ", bytes, " were announced"));
  }
  RETURN_IF_ERROR(CheckSize(facts.size_bytes));
  // A page that is not there is made, on the account of who reads it. With these seals there will be no new hole.
  if (facts.present_bytes < facts.size_bytes) {
    return absl::InvalidArgumentError(Cat(kName, " has holes: ", facts.present_bytes, " of ", facts.size_bytes, " bytes are there"));
  }
  ASSIGN_OR_RETURN(Mapping mapping, Mapping::OfFile(fd.get(), facts.size_bytes,
                                                    kind == Kind::kPool ? Mapping::Access::kRead : Mapping::Access::kReadPrivate,
                                                    Mapping::Size::kSealed));
  return std::shared_ptr<SharedRegion>(new SharedRegion(kind, std::move(fd), std::move(mapping)));
}

}  // namespace ipcrpc::rpc
