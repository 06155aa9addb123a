// The one way to say something to whoever runs the program: see ipcrpc/log.h.
#pragma once

#include "ipcrpc/log.h"

namespace ipcrpc {

// Any thread.
void Log(LogSeverity severity, std::string_view message);

}  // namespace ipcrpc
