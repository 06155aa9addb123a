// What all commands say, and with which exit code they end.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ipcrpc/status.h"

namespace ipcrpc::cli {

// Exit codes: 0, these, or 64 + status code for a call that failed.
inline constexpr int kExitToolError = 1;  // also: never connected
inline constexpr int kExitUsage = 2;
inline constexpr int kExitStale = 3;  // shown, but nobody writes it any more
inline constexpr int kExitCallBase = 64;

// The errors of commands. Anything else than these is a tool error.
absl::Status UsageError(std::string_view text);
absl::Status CallFailed(const Status& status);  // "NOT_FOUND: what the server said"
absl::Status StaleError(std::string_view text);

int ExitCodeOf(const absl::Status& status);

// Prints the error as one line on stderr, if it is one, and returns the exit code.
int Report(const absl::Status& status);

// "NOT_FOUND"; for a number without a name "code 42".
std::string CodeName(int code);

// Control bytes and line ends as escapes, so that text from anywhere stays one line and drives no terminal.
std::string OneLine(std::string_view text);

// To stdout, with a line end, at once. An error when it cannot be written.
absl::Status PrintLine(std::string_view text);

inline std::string_view View(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace ipcrpc::cli
