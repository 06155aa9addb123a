// What snapshot files are called.
#pragma once

#include <string>
#include <string_view>

namespace ipcrpc::snapshot {

// NAME.snap in the runtime directory. Under the second name it is made; and the one that it replaces has that
// name until its readers are told.
inline constexpr std::string_view kSuffix = ".snap";
inline constexpr std::string_view kNewSuffix = ".snap.new";

// Tells the readers of a dead writer's snapshot that it is over, and removes it and its memory. REQUIRES: the lock of its
// name. False: that memory is in another namespace, so that the file stays for whoever sees it.
bool RemoveDead(const std::string& path);

}  // namespace ipcrpc::snapshot
