#include "transport/inherited/pipe_transport.h"

#include <optional>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/inherited/adopt.h"
#include "transport/inherited/single_listener.h"
#include "transport/stream/buffer_size.h"
#include "transport/stream/framing.h"
#include "transport/stream/stream_link.h"

namespace ipcrpc {
namespace {

constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .pollable = true, .detects_death = true,
    .many_connections = false};
constexpr std::string_view kParameters[] = {"buffer"};

absl::StatusOr<std::unique_ptr<Link>> Open(const Address& address) {
  RETURN_IF_ERROR(stream::BufferParameter(address).status());
  const std::string_view rest = address.rest;
  const size_t comma = std::min(rest.find(','), rest.size());
  const std::optional<int> read = ParseNumber<int>(rest.substr(0, comma));
  const std::optional<int> write = ParseNumber<int>(rest.substr(std::min(comma + 1, rest.size())));
  if (!read || !write || *read < 0 || *write < 0) {
    return absl::InvalidArgumentError(Cat("address '", address.ToString(),
                                          "': expected two descriptors, to read from and to write to, like pipe:3,4"));
  }
  const std::string read_name = Cat("descriptor ", *read), write_name = Cat("descriptor ", *write);
  RETURN_IF_ERROR(CheckAdoptable(*read, AdoptFor::kReading, read_name));
  RETURN_IF_ERROR(CheckAdoptable(*write, AdoptFor::kWriting, write_name));
  if (SameFile(*read, *write) && !IsSocket(*read)) {
    return absl::FailedPreconditionError(
        Cat("descriptors ", *read, " and ", *write, " are one pipe: what is sent would come back"));
  }
  ASSIGN_OR_RETURN(UniqueFd read_fd, Adopt(*read, read_name));
  UniqueFd write_fd;
  if (*write != *read) {
    ASSIGN_OR_RETURN(write_fd, Adopt(*write, write_name));
  }
  return MakePipeLink(std::move(read_fd), std::move(write_fd), PeerIdentity(), kCapabilities, address);
}

absl::StatusOr<std::unique_ptr<Listener>> ListenPipe(const Address& address) {
  ASSIGN_OR_RETURN(std::unique_ptr<Link> link, Open(address));
  return std::make_unique<SingleListener>(address, std::move(link));
}

absl::StatusOr<std::unique_ptr<Link>> ConnectPipe(const Address& address, int64_t) { return Open(address); }

}  // namespace

absl::StatusOr<std::unique_ptr<Link>> MakePipeLink(UniqueFd read, UniqueFd write, const PeerIdentity& peer,
                                                   const Capabilities& capabilities, const Address& address) {
  StreamLink::Options options = {.capabilities = capabilities, .peer = peer, .description = address.ToString(), .epitaph = {}};
  ASSIGN_OR_RETURN(const int buffer, stream::BufferParameter(address));
  RETURN_IF_ERROR(stream::SetBuffer(read.get(), buffer));
  if (!write.valid() || (IsSocket(read.get()) && SameFile(read.get(), write.get()))) {
    return std::make_unique<StreamLink>(std::move(read), std::move(options));
  }
  RETURN_IF_ERROR(stream::SetBuffer(write.get(), buffer));
  return std::make_unique<StreamLink>(std::move(read), std::move(write), std::move(options));
}

const Scheme& PipeScheme() {
  static constexpr Scheme kScheme = {
      .name = "pipe",
      .summary = "byte stream over two inherited descriptors",
      .capabilities = kCapabilities,
      .parameters = kParameters,
      .listen = ListenPipe,
      .connect = ConnectPipe,
  };
  return kScheme;
}

}  // namespace ipcrpc
