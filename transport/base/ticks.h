// How long a tick of Ticks() is.
#pragma once

#include <cstdint>

namespace ipcrpc {

// Ticks per microsecond, at least 1; measured at the first call (about 100 µs), constant after.
uint64_t TicksPerMicrosecond();

}  // namespace ipcrpc
