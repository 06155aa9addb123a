// A System V semaphore. It lives until somebody removes it, and to remove it is to take it away from whoever uses it: so its
// owner removes it when the connection ends, or the peer that sees the owner die; and if both die it is in
// the owner's ledger.
#include <errno.h>
#include <sys/sem.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "transport/base/fork_guard.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/bell_kind.h"
#include "transport/shm/ledger.h"

namespace ipcrpc::shm {
namespace {

// False when there is no such set any more; another may have its number.
bool Examine(int id, uint32_t key, semid_ds* info) {
  return semctl(id, 0, IPC_STAT, info) == 0 && static_cast<uint32_t>(info->sem_perm.__key) == key;
}

class SysvSemaphoreBell final : public Bell {
 public:
  SysvSemaphoreBell(int id, uint32_t key, std::optional<Ledger::Entry> entry) : id_(id), key_(key), entry_(std::move(entry)) {}
  ~SysvSemaphoreBell() override {
    if (entry_.has_value()) Remove();
  }
  void OwnerIsGone() override { Remove(); }

  bool Wait(int64_t deadline_ns) override {
    sembuf take = {.sem_num = 0, .sem_op = -1, .sem_flg = 0};
    const timespec left = ToTimespec(std::max<int64_t>(0, SliceEnd(deadline_ns) - MonotonicNs()));
    // Whatever else was rung is taken with the first.
    if (semtimedop(id_, &take, 1, &left) == 0) return semctl(id_, 0, SETVAL, 0) == 0;
    return errno == EAGAIN || errno == EINTR;
  }
  void Ring() override {
    sembuf ring = {.sem_num = 0, .sem_op = 1, .sem_flg = IPC_NOWAIT};
    semop(id_, &ring, 1);  // ERANGE: it holds all it can
  }

 private:
  void Remove() {
    semid_ds info;
    if (fork_guard_.ours() && Examine(id_, key_, &info)) semctl(id_, 0, IPC_RMID);
  }

  const int id_;
  const uint32_t key_;
  const ForkGuard fork_guard_;
  const std::optional<Ledger::Entry> entry_;  // of its owner
};

absl::StatusOr<OwnBell> Make(const Parts& parts) {
  for (;;) {
    const uint32_t key = Ledger::RandomKey();
    ASSIGN_OR_RETURN(Ledger::Entry entry, parts.ledger->Enter({.kind = LeftBehind::Kind::kSysvSemaphores, .key = key}));
    const int id = semget(static_cast<key_t>(key), 1, IPC_CREAT | IPC_EXCL | 0600);
    if (id >= 0) {
      return OwnBell{.bell = std::make_unique<SysvSemaphoreBell>(id, key, std::move(entry)), .place = {.id = id, .key = key}};
    }
    const int error = errno;
    if (error == EEXIST) continue;
    const std::string what = Cat("cannot make a System V semaphore (wake=sysvsem): ", strerror(error));
    if (error == ENOSPC) {
      return absl::ResourceExhaustedError(
          Cat(what, "; the last number of kernel.sem is how many sets there may be (see ipcs -ls, ipcs -s)"));
    }
    if (error == ENOMEM) return absl::ResourceExhaustedError(what);
    return absl::FailedPreconditionError(what);
  }
}

absl::StatusOr<std::unique_ptr<Bell>> Take(SegmentKind, BellPlace place) {
  semid_ds info;
  if (!Examine(place.id, place.key, &info)) {
    return absl::FailedPreconditionError(Cat("the peer's System V semaphore ", place.id, " (wake=sysvsem) is not to be found: is the peer "
                                             "in another IPC namespace?"));
  }
  if (info.sem_perm.uid != geteuid() || info.sem_perm.cuid != geteuid() || (info.sem_perm.mode & 0777) != 0600 || info.sem_nsems != 1) {
    return absl::InvalidArgumentError(
        Cat("the peer's System V semaphore ", place.id, " (wake=sysvsem) is not a single one of our uid and mode 0600"));
  }
  return std::make_unique<SysvSemaphoreBell>(place.id, place.key, std::nullopt);
}

}  // namespace

const BellKind kSysvSemaphoreBell = {.make = Make, .take = Take};

}  // namespace ipcrpc::shm
