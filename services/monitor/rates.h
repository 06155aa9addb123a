#pragma once

#include "ipcrpc/monitor/v1/system_status.pb.h"

// What happened between two readings of the status. Pure.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// `before` and `now` are of one machine, one after the other. Only what both have.
v1::Rates RatesBetween(const v1::StatusReply& before, const v1::StatusReply& now);

}  // namespace ipcrpc::monitor
