#include "transport/base/log.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace ipcrpc {
namespace {

struct State {
  std::mutex mu;
  LogSink sink;
};

State& TheState() {
  static auto* const state = new State;
  return *state;
}

// The least severity that goes to standard error; one more than kError: none does.
int Threshold() {
  static const int threshold = [] {
    const char* value = getenv("IPCRPC_LOG");
    const std::string_view wanted = value == nullptr ? "" : value;
    if (wanted == "info") return static_cast<int>(LogSeverity::kInfo);
    if (wanted == "error") return static_cast<int>(LogSeverity::kError);
    if (wanted == "off") return static_cast<int>(LogSeverity::kError) + 1;
    return static_cast<int>(LogSeverity::kWarning);
  }();
  return threshold;
}

}  // namespace

void SetLogSink(LogSink sink) {
  const std::lock_guard lock(TheState().mu);
  TheState().sink = std::move(sink);
}

void Log(LogSeverity severity, std::string_view message) {
  const std::lock_guard lock(TheState().mu);
  if (TheState().sink) return TheState().sink(severity, message);
  if (static_cast<int>(severity) < Threshold()) return;
  std::fprintf(stderr, "ipcrpc: %.*s\n", static_cast<int>(message.size()), message.data());
}

}  // namespace ipcrpc
