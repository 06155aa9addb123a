// What server and client of ipcrpc.v1.Snapshots have in common.
#pragma once

namespace ipcrpc::internal {

inline constexpr char kGetSnapshot[] = "/ipcrpc.v1.Snapshots/Get";
inline constexpr char kListSnapshots[] = "/ipcrpc.v1.Snapshots/List";

}  // namespace ipcrpc::internal
