#include "tools/ipcrpc/output.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "absl/strings/cord.h"

namespace ipcrpc::cli {
namespace {

constexpr char kExitCodePayload[] = "ipcrpc.exit_code";

absl::Status WithExitCode(absl::StatusCode code, const std::string& text, int exit_code) {
  absl::Status status(code, text);
  status.SetPayload(kExitCodePayload, absl::Cord(std::to_string(exit_code)));
  return status;
}

}  // namespace

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return 0;
  const auto payload = status.GetPayload(kExitCodePayload);
  return payload.has_value() ? std::stoi(std::string(*payload)) : kExitToolError;
}

absl::Status UsageError(std::string_view text) {
  return WithExitCode(absl::StatusCode::kInvalidArgument, std::string(text), kExitUsage);
}

absl::Status CallFailed(const Status& status) {
  std::string text = CodeName(status.error_code());
  if (!status.error_message().empty()) text += ": " + status.error_message();
  return WithExitCode(absl::StatusCode::kUnknown, text, kExitCallBase + status.error_code());
}

absl::Status StaleError(std::string_view text) {
  return WithExitCode(absl::StatusCode::kUnavailable, std::string(text), kExitStale);
}

int Report(const absl::Status& status) {
  if (!status.ok()) std::fprintf(stderr, "ipcrpc: %s\n", OneLine(View(status)).c_str());
  return ExitCodeOf(status);
}

std::string CodeName(int code) {
  static constexpr std::array<const char*, 17> kNames = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  if (code < 0 || code >= static_cast<int>(kNames.size())) return "code " + std::to_string(code);
  return kNames[static_cast<size_t>(code)];
}

std::string OneLine(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      line += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      char escape[5];
      std::snprintf(escape, sizeof(escape), "\\x%02x", byte);
      line += escape;
    } else {
      line += c;
    }
  }
  return line;
}

absl::Status PrintLine(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fputc('\n', stdout) == EOF ||
      std::fflush(stdout) != 0) {
    return absl::UnavailableError(std::string("cannot write to standard output: ") + std::strerror(errno));
  }
  return absl::OkStatus();
}

}  // namespace ipcrpc::cli
