#pragma once

#include "ipcrpc/monitor/v1/monitor_control.pb.h"

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// Of this process.
v1::ProcessStatistics OwnStatistics();

}  // namespace ipcrpc::monitor
