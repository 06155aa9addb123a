// What a kind of bell has to provide.
#pragma once

#include "transport/shm/bell.h"

namespace ipcrpc::shm {

struct BellKind {
  absl::StatusOr<OwnBell> (*make)(const Parts& parts);
  absl::StatusOr<std::unique_ptr<Bell>> (*take)(SegmentKind segment, BellPlace place);
};

extern const BellKind kEventfdBell;
extern const BellKind kSemaphoreBell;
extern const BellKind kSysvSemaphoreBell;

}  // namespace ipcrpc::shm
