// Snapshots that have a name: how the writer puts one there.
//
// A file is made under another name, filled, and then changes places with what is at its own, so that whoever
// opens it finds it complete. The one before is marked as over, then removed. A writer may die between any
// two of these steps: a file that somebody may read has a name until it is marked, under which the next
// writer, or a sweep, finds it and does the rest. The name's lock (transport/names.h) is the writer's; so one
// that is free has no writer.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/base/fd.h"
#include "transport/base/fork_guard.h"
#include "transport/names.h"
#include "transport/snapshot/home.h"
#include "transport/snapshot/memory.h"

namespace ipcrpc::snapshot {

// A place of the writer's: its lock, and the file once it is there.
class NamedHome final : public Home {
 public:
  static absl::StatusOr<std::unique_ptr<NamedHome>> Take(const Address& address, const MemoryKind& kind);
  ~NamedHome() override;

  absl::StatusOr<Mapping> NewMemory(uint64_t size) override;
  absl::Status Place() override;
  std::string path() const override { return path_; }
  UniqueFd Share() const override { return UniqueFd(); }

 private:
  explicit NamedHome(const MemoryKind& kind) : kind_(kind) {}
  void Drop();  // what NewMemory() gave, unplaced

  const MemoryKind& kind_;
  const ForkGuard fork_guard_;
  std::string path_;
  Permissions who_;
  std::unique_ptr<NameLock> lock_;
  UniqueFd pending_;  // under the other name
  UniqueFd placed_;   // at its name: a dead writer's at first, then ours
  bool ours_ = false;
  bool registered_ = false;  // among the files of this process
};

}  // namespace ipcrpc::snapshot
