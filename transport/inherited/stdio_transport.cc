#include "transport/inherited/stdio_transport.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/inherited/adopt.h"
#include "transport/inherited/pipe_transport.h"
#include "transport/inherited/single_listener.h"
#include "transport/stream/buffer_size.h"
#include "transport/stream/framing.h"

namespace ipcrpc {
namespace {

constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .pollable = true, .detects_death = true,
    .many_connections = false};
constexpr std::string_view kParameters[] = {"buffer"};
constexpr char kInput[] = "standard input";
constexpr char kOutput[] = "standard output";

absl::StatusOr<std::unique_ptr<Link>> Open(const Address& address) {
  RETURN_IF_ERROR(stream::BufferParameter(address).status());
  static std::atomic<bool> taken{false};
  if (taken.load()) {
    return absl::FailedPreconditionError("standard input and output have carried a link already, and are good for one only");
  }
  RETURN_IF_ERROR(CheckAdoptable(STDIN_FILENO, AdoptFor::kReading, kInput));
  RETURN_IF_ERROR(CheckAdoptable(STDOUT_FILENO, AdoptFor::kWriting, kOutput));
  if (SameFile(STDIN_FILENO, STDOUT_FILENO) && !IsSocket(STDIN_FILENO)) {
    return absl::FailedPreconditionError("standard input and output are one pipe: what is sent would come back");
  }
  UniqueFd nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing.valid()) return absl::ErrnoToStatus(errno, "cannot open /dev/null, which standard input becomes");
  if (taken.exchange(true)) return Open(address);  // another thread was faster
  ASSIGN_OR_RETURN(UniqueFd read, Adopt(STDIN_FILENO, kInput, nothing.get()));
  const int errors = fcntl(STDERR_FILENO, F_GETFD) < 0 ? nothing.get() : STDERR_FILENO;
  ASSIGN_OR_RETURN(UniqueFd write, Adopt(STDOUT_FILENO, kOutput, errors));
  const PeerIdentity parent = {.pid = getppid()};
  return MakePipeLink(std::move(read), std::move(write), parent, kCapabilities, address);
}

absl::StatusOr<std::unique_ptr<Listener>> ListenStdio(const Address& address) {
  ASSIGN_OR_RETURN(std::unique_ptr<Link> link, Open(address));
  return std::make_unique<SingleListener>(address, std::move(link));
}

absl::StatusOr<std::unique_ptr<Link>> ConnectStdio(const Address& address, int64_t) { return Open(address); }

}  // namespace

const Scheme& StdioScheme() {
  static constexpr Scheme kScheme = {
      .name = "stdio",
      .summary = "byte stream over standard input and output",
      .capabilities = kCapabilities,
      .parameters = kParameters,
      .listen = ListenStdio,
      .connect = ConnectStdio,
  };
  return kScheme;
}

}  // namespace ipcrpc
