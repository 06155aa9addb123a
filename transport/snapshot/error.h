// How the public face tells errors, whose headers know no Abseil.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ipcrpc/raw_snapshot.h"

namespace ipcrpc::snapshot {

inline SnapshotError ToError(const absl::Status& status) {
  if (status.ok()) return {};
  return {.code = static_cast<int>(status.code()),
          .message = std::string(status.message().data(), status.message().size())};
}

inline absl::Status FromError(const SnapshotError& error) {
  return error.ok() ? absl::OkStatus() : absl::Status(static_cast<absl::StatusCode>(error.code), error.message);
}

}  // namespace ipcrpc::snapshot
