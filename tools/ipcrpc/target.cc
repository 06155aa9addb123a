#include "tools/ipcrpc/target.h"

#include <algorithm>
#include <cstdlib>
#include <regex>

#include "absl/time/time.h"
#include "tools/ipcrpc/output.h"

namespace ipcrpc::cli {

bool LooksLikeMethod(const std::string& word) {
  static const std::regex kMethod(R"(/?[A-Za-z_]\w*(\.[A-Za-z_]\w*)*/[A-Za-z_]\w*)");
  return std::regex_match(word, kMethod);
}

bool LooksLikeAddress(const std::string& word) {
  return word.find(':') != std::string::npos || word.find('@') != std::string::npos ||
         word.rfind('/', 0) == 0 || word.rfind("./", 0) == 0;
}

absl::StatusOr<std::string> DefaultAddress() {
  const char* address = std::getenv("IPCRPC_ADDRESS");
  if (address == nullptr || *address == '\0')
    return UsageError("no address: give ADDR or set IPCRPC_ADDRESS");
  return std::string(address);
}

absl::StatusOr<std::string> OnlyAddress(const ServerOptions& options) {
  if (options.words.size() > 1) return UsageError("one address is enough: '" + options.words[1] + "' is too much");
  return options.words.empty() ? DefaultAddress() : options.words[0];
}

absl::StatusOr<Schema::Deadline> DeadlineOf(const std::string& timeout) {
  if (timeout.empty()) return Schema::Deadline::max();
  absl::Duration duration;
  if (!absl::ParseDuration(timeout, &duration) || duration <= absl::ZeroDuration()) {
    return UsageError("--timeout=" + timeout + " is no duration; write it like 5s, 250ms or 1m30s");
  }
  if (duration > absl::Hours(24 * 365 * 100)) return Schema::Deadline::max();
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(absl::ToChronoNanoseconds(duration));
}

std::shared_ptr<Channel> OpenChannel(const std::string& address) {
  ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return CreateCustomChannel(address, arguments);
}

absl::Status Connect(Channel& channel, Schema::Deadline deadline) {
  for (ConnectivityState state = channel.GetState(/*try_to_connect=*/true);; state = channel.GetState(false)) {
    if (state == ConnectivityState::READY) return absl::OkStatus();
    if (state == ConnectivityState::TRANSIENT_FAILURE) return absl::UnavailableError(channel.GetTransportInfo().error);
    if (!channel.WaitForStateChange(state, deadline)) return absl::DeadlineExceededError("no connection in time");
  }
}

Schema::Deadline ReflectionDeadline(Schema::Deadline deadline) {
  return std::min(deadline, std::chrono::system_clock::now() + std::chrono::seconds(10));
}

}  // namespace ipcrpc::cli
