#include "ipcrpc/status.h"

#include <utility>

namespace ipcrpc {

// Made before any code runs, as other files' constants may ask for it. Clang 14 sees no constant in libstdc++'s empty string.
#if !defined(__clang__) || __clang_major__ > 14
constinit
#endif
    const std::string Status::kNoText;
const Status Status::OK;
const Status Status::CANCELLED(StatusCode::CANCELLED, "");

Status::Status(StatusCode code, std::string message, std::string details) : code_(code) {
  if (message.empty() && details.empty()) return;
  text_ = std::make_unique<Text>(Text{std::move(message), std::move(details)});
}

}  // namespace ipcrpc
