#include "ipcrpc/status.h"

#include <utility>

namespace ipcrpc {

constinit const std::string Status::kNoText;  // before any code runs: other files' constants may ask for it
const Status Status::OK;
const Status Status::CANCELLED(StatusCode::CANCELLED, "");

Status::Status(StatusCode code, std::string message, std::string details) : code_(code) {
  if (message.empty() && details.empty()) return;
  text_ = std::make_unique<Text>(Text{std::move(message), std::move(details)});
}

}  // namespace ipcrpc
