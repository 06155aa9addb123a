#include "transport/exec/exec_transport.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
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

// A pipe neither of whose ends is a standard descriptor, which spawning would overwrite.
absl::Status MakePipe(UniqueFd* read, UniqueFd* write) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(Cat("cannot make a pipe: ", strerror(errno)));
  }
  UniqueFd* const to[] = {read, write};
  for (int i = 0; i < 2; ++i) {
    to[i]->reset(ends[i]);
    if (ends[i] > STDERR_FILENO) continue;
    to[i]->reset(fcntl(ends[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  }
  if (!read->valid() || !write->valid()) return absl::ResourceExhaustedError("no file descriptor left for a pipe");
  return absl::OkStatus();
}

// "exited with code 127 (the shell did not find a command)"
std::string Explain(const std::string& how) {
  if (how == "exited with code 126") return how + " (it cannot be executed)";
  if (how == "exited with code 127") return how + " (the shell did not find a command)";
  return how;
}

absl::StatusOr<std::unique_ptr<Listener>> ListenExec(const Address& address) {
  return absl::InvalidArgumentError(Cat("cannot listen at '", address.ToString(),
                                        "': exec: starts a server; the server itself listens at stdio:"));
}

absl::StatusOr<std::unique_ptr<Link>> ConnectExec(const Address& address, int64_t) {
  UniqueFd its_input, to_it, its_output, from_it;
  RETURN_IF_ERROR(MakePipe(&its_input, &to_it));
  RETURN_IF_ERROR(MakePipe(&from_it, &its_output));
  absl::StatusOr<std::shared_ptr<ChildProcess>> started =
      ChildProcess::Start({.argv = {"/bin/sh", "-c", address.rest}, .descriptors = {its_input.get(), its_output.get()}});
  if (!started.ok()) {
    return absl::Status(started.status().code(), Cat("exec: '", address.rest, "': ", MessageOf(started.status())));
  }
  const std::shared_ptr<ChildProcess> child = *std::move(started);
  const PeerIdentity peer = {.pid = child->pid(), .uid = geteuid(), .gid = getegid()};
  auto epitaph = [child, command = address.rest] {
    const std::string how = child->AwaitEnd(MonotonicNs() + kEndNs);
    return how.empty() ? "" : Cat("exec: '", command, "' ", Explain(how));
  };
  return std::make_unique<StreamLink>(
      std::move(from_it), std::move(to_it),
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
