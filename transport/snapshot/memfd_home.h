// Snapshots at home in sealed memory without a name, for readers that are handed a descriptor of it. It goes when nobody
// has it any more, whoever dies; nobody can cut it short, and nobody but its maker write to it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "transport/shm/mapping.h"
#include "transport/snapshot/home.h"

namespace ipcrpc::snapshot {

std::unique_ptr<Home> MakeMemfdHome();

// The reader's side: maps what it was handed, once everything about it is checked. INVALID_ARGUMENT: it is not sealed
// memory; FAILED_PRECONDITION: too large.
absl::StatusOr<shm::Mapping> MapMemfd(UniqueFd fd);

}  // namespace ipcrpc::snapshot
