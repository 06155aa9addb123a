// Users and groups of this machine by name.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace ipcrpc {

// Nothing when there is none of that name. May block: they can live in a directory service.
std::optional<uid_t> FindUser(const std::string& name);
std::optional<gid_t> FindGroup(const std::string& name);

}  // namespace ipcrpc
