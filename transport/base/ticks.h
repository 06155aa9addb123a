// How long a tick of Ticks() is.
#pragma once

#include <cstdint>

namespace ipcrpc {

// Ticks per microsecond, at least 1; measured at the first call (about 20 µs, to a hundredth), constant after.
uint64_t TicksPerMicrosecond();

}  // namespace ipcrpc
