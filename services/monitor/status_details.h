// What goes with an operating error beside its code and words: a message, as the details of a call's status.
#pragma once

#include <string>

#include <google/protobuf/message_lite.h>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace ipcrpc::monitor {

inline constexpr char kDetails[] = "ipcrpc.dev/details";

inline void SetDetails(const google::protobuf::MessageLite& details, absl::Status* status) {
  status->SetPayload(kDetails, absl::Cord(details.SerializeAsString()));
}

// Serialised; empty when there are none.
inline std::string DetailsOf(const absl::Status& status) {
  const auto details = status.GetPayload(kDetails);
  return details ? std::string(*details) : "";
}

}  // namespace ipcrpc::monitor
