// What this process has in the kernel that would outlive it, written down so that others can remove it when this one
// dies without doing so.
//
// A file of the runtime directory with a random name that no server can have (".owned-….owned"), under a NameLock: the
// kernel drops the lock when the process dies, however that happens, and whoever sweeps the directory next removes
// what a ledger without an owner names. An entry is written before the thing it names is made.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/base/fork_guard.h"
#include "transport/names.h"
#include "transport/shm/left_behind.h"

namespace ipcrpc::shm {

class Ledger : public std::enable_shared_from_this<Ledger> {
 public:
  // A line of the ledger; crossed out when this goes. What it names must be gone by then.
  class Entry {
   public:
    Entry(Entry&& other) noexcept = default;
    ~Entry();

   private:
    friend class Ledger;
    Entry(std::shared_ptr<Ledger> ledger, size_t line) : ledger_(std::move(ledger)), line_(line) {}
    std::shared_ptr<Ledger> ledger_;
    size_t line_;
  };

  // The process's own, shared by all that hold it; the first has the directory swept. In a forked child another one.
  // FAILED_PRECONDITION, PERMISSION_DENIED: there is no runtime directory to write it in.
  static absl::StatusOr<std::shared_ptr<Ledger>> Open();
  // The file goes with the last that holds it.
  ~Ledger();

  // Any thread. RESOURCE_EXHAUSTED: it cannot be written.
  absl::StatusOr<Entry> Enter(LeftBehind what);

  // Names that nobody has. "ipcrpc." and 32 hexadecimal digits; never 0.
  static std::string RandomPosixName();
  static bool IsPosixName(std::string_view name);
  static uint32_t RandomKey();
  static uint64_t RandomToken();

 private:
  Ledger(std::string path, std::unique_ptr<NameLock> lock, UniqueFd fd);
  void CrossOut(size_t line);

  const std::string path_;
  const std::unique_ptr<NameLock> lock_;
  const UniqueFd fd_;
  const ForkGuard fork_guard_;
  std::mutex mu_;
  std::vector<bool> lines_;  // in use
};

}  // namespace ipcrpc::shm
