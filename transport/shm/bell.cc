#include "transport/shm/bell.h"

#include <utility>

#include "transport/shm/bell_kind.h"

namespace ipcrpc::shm {
namespace {

const BellKind* KindOf(WakeKind wake) {
  static constexpr const BellKind* kKinds[kWakeKinds] = {nullptr, &kEventfdBell, &kSemaphoreBell, &kSysvSemaphoreBell};
  return kKinds[static_cast<uint8_t>(wake)];
}

}  // namespace

absl::StatusOr<OwnBell> MakeBell(const Parts& parts) {
  const BellKind* const kind = KindOf(parts.wake);
  if (kind == nullptr) return OwnBell();
  return kind->make(parts);
}

absl::StatusOr<std::unique_ptr<Bell>> TakeBell(WakeKind wake, SegmentKind segment, BellPlace place) {
  const BellKind* const kind = KindOf(wake);
  if (kind == nullptr) return std::unique_ptr<Bell>();
  return kind->take(segment, std::move(place));
}

}  // namespace ipcrpc::shm
