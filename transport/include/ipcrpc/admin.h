// What command-line tools need beside calls.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ipcrpc/export.h"

namespace ipcrpc::admin {

// "; did you mean 'unix'?", to end an error about `word` with; "" when no candidate is near enough.
IPCRPC_EXPORT std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace ipcrpc::admin
