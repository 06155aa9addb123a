#include "transport/exec/exec_transport.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/exec/child_process.h"
#include "transport/stream/framing.h"
#include "transport/stream/stream_link.h"

namespace ipcrpc {
namespace {

constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .pollable = true, .detects_death = true,
    .many_connections = false};
// The end of the stream is seen a moment before that of the process.
constexpr int64_t kEndNs = 100'000'000;

absl::StatusOr<std::unique_ptr<Listener>> ListenExec(const Address& address) {
  return absl::InvalidArgumentError(Cat("cannot listen at '", address.ToString(),
                                        "': exec: starts a server; the server itself listens at stdio:"));
}

absl::StatusOr<std::unique_ptr<Link>> ConnectExec(const Address& address, int64_t) {
  StandardPipes pipes;
  ASSIGN_OR_RETURN(std::shared_ptr<ChildProcess> child, ChildProcess::Start(address.rest, &pipes));
  const PeerIdentity peer = {.pid = child->pid(), .uid = geteuid(), .gid = getegid()};
  auto epitaph = [child, command = address.rest] {
    const std::string how = child->AwaitEnd(MonotonicNs() + kEndNs);
    return how.empty() ? "" : Cat("exec: '", command, "' ", how);
  };
  return std::make_unique<StreamLink>(
      std::move(pipes.output), std::move(pipes.input),
      StreamLink::Options{
          .capabilities = kCapabilities, .peer = peer, .description = address.ToString(), .epitaph = std::move(epitaph)});
}

}  // namespace

const Scheme& ExecScheme() {
  static constexpr Scheme kScheme = {
      .name = "exec",
      .summary = "byte stream to a command that is started for it (clients only)",
      .capabilities = kCapabilities,
      .parameters = {},
      .listen = ListenExec,
      .connect = ConnectExec,
  };
  return kScheme;
}

}  // namespace ipcrpc
