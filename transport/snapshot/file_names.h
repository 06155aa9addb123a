// What snapshot files are called.
#pragma once

#include <string>
#include <string_view>

namespace ipcrpc::snapshot {

// NAME.snap in the runtime directory; under the second name while it is made.
inline constexpr std::string_view kSuffix = ".snap";
inline constexpr std::string_view kNewSuffix = ".snap.new";

// Removes a snapshot whose writer is dead, and tells its readers that it is over. REQUIRES: the lock of its name.
void RemoveDead(const std::string& path);

}  // namespace ipcrpc::snapshot
