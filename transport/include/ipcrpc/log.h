// What the library has to say that is nobody's return value: a transport that was passed over, a connection that
// was refused. One line a message, no line end.
#pragma once

#include <functional>
#include <string_view>

#include "ipcrpc/export.h"

namespace ipcrpc {

enum class LogSeverity { kInfo, kWarning, kError };

using LogSink = std::function<void(LogSeverity, std::string_view)>;

// Where messages go from now on; empty: back to standard error, from the severity that IPCRPC_LOG names (info,
// warning, error, off; default warning). Any thread. The sink is called by any thread, one at a time, and must
// not block for long nor call into this library.
IPCRPC_EXPORT void SetLogSink(LogSink sink);

}  // namespace ipcrpc
