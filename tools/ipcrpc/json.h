// Messages as JSON, by protobuf's rules, with errors that help a person.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ipcrpc::cli {

// Overwrites `*message`. The error says where in the JSON, and names the nearest field or enum value.
absl::Status JsonToMessage(const std::string& json, google::protobuf::Message* message);

enum class JsonForm { kPretty, kOneLine };
// Without a line end.
absl::StatusOr<std::string> MessageToJson(const google::protobuf::Message& message, JsonForm form);

}  // namespace ipcrpc::cli
