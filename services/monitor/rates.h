#pragma once

#include <cstdint>

#include "ipcrpc/monitor/v1/collector_control.pb.h"
#include "ipcrpc/monitor/v1/system_status.pb.h"

// What happened between two readings of the status. Pure.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// `before` and `now` are of one machine, one after the other. Only what both have.
v1::Rates RatesBetween(const v1::StatusReply& before, const v1::StatusReply& now);

// What a client is told of a reading: with rates since the one before (null: none), and so many of the processes.
v1::StatusReply StatusOf(const v1::StatusReading& reading, const v1::StatusReading* before, uint32_t top_processes);

}  // namespace ipcrpc::monitor
