#pragma once

#include <string_view>

namespace ipcrpc {

// A borrowed string, as metadata holds them.
using string_ref = std::string_view;

}  // namespace ipcrpc
