// ipcrpc status [ADDR]: whether a server can be reached, by which transport, and why not by a better one.
#include <chrono>

#include "absl/strings/str_format.h"
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/output.h"
#include "tools/ipcrpc/target.h"

namespace ipcrpc::cli {
namespace {

constexpr std::chrono::seconds kPatience(10);

absl::Status PrintField(std::string_view name, std::string_view value) {
  return PrintLine(absl::StrFormat("%-10s %s", name, OneLine(value)));
}

}  // namespace

absl::Status ServerStatus(const ServerOptions& options) {
  const absl::StatusOr<std::string> address = OnlyAddress(options);
  if (!address.ok()) return address.status();
  const absl::StatusOr<Schema::Deadline> deadline = DeadlineOf(options.timeout);
  if (!deadline.ok()) return deadline.status();

  const std::shared_ptr<Channel> channel = OpenChannel(*address);
  const auto start = std::chrono::steady_clock::now();
  const absl::Status connected = Connect(*channel, std::min(*deadline, std::chrono::system_clock::now() + kPatience));
  const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  const TransportInfo info = channel->GetTransportInfo();
  absl::Status printed = PrintField("address", *address);
  if (connected.ok()) {
    printed.Update(PrintField("transport", info.place));
    printed.Update(PrintField("peer", info.peer));
    printed.Update(PrintField("connected", absl::StrFormat("in %.2f ms", ms)));
  }
  for (const TransportInfo::Refusal& refusal : info.refused) {
    printed.Update(PrintField("not by", refusal.transport + ": " + refusal.reason));
  }
  return connected.ok() ? printed : connected;
}

}  // namespace ipcrpc::cli
