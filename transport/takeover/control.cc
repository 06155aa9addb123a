#include "transport/takeover/control.h"

#include <errno.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "transport/address_parameters.h"
#include "transport/base/scm_rights.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/names.h"

namespace ipcrpc::takeover {
namespace {

struct Header {
  uint32_t magic;
  uint16_t version;
  Kind kind;
  uint32_t number;
};
static_assert(sizeof(Header) == 12);

constexpr uint32_t kMagic = 0x5443'5049;  // "IPCT"
constexpr uint16_t kVersion = 1;

}  // namespace

absl::Status Send(int socket, Kind kind, uint32_t number, std::string_view text, std::span<const int> fds) {
  const Header header = {.magic = kMagic, .version = kVersion, .kind = kind, .number = number};
  iovec pieces[2] = {{.iov_base = const_cast<Header*>(&header), .iov_len = sizeof(header)},
                     {.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()}};
  if (fds.size() > kMaxFds) return absl::InvalidArgumentError("too many descriptors for one message");
  if (SendWithFds(socket, pieces, fds) == static_cast<ssize_t>(sizeof(header) + text.size())) return absl::OkStatus();
  return absl::UnavailableError(Cat("cannot send on the control socket: ", strerror(errno)));
}

absl::StatusOr<std::optional<Message>> Receive(int socket) {
  Header header = {};
  std::string text(kMaxTextBytes, '\0');
  iovec pieces[2] = {{.iov_base = &header, .iov_len = sizeof(header)}, {.iov_base = text.data(), .iov_len = text.size()}};
  ArrivedFds fds;
  const ssize_t got = ReceiveWithFds(socket, pieces, &fds);
  if (got < 0) {
    if (errno == EAGAIN) return std::nullopt;
    return absl::UnavailableError(Cat("the control socket failed: ", strerror(errno)));
  }
  if (got == 0 && !fds.any()) return absl::UnavailableError("the peer has closed the control socket");
  if (fds.bytes_cut || fds.too_many) return absl::InvalidArgumentError("a message that is too long");
  if (fds.lost) return absl::ResourceExhaustedError("no file descriptor is free for those of a take-over");
  if (got < static_cast<ssize_t>(sizeof(header)) || header.magic != kMagic) {
    return absl::InvalidArgumentError("not a message of a take-over");
  }
  if (header.version != kVersion) {
    return absl::FailedPreconditionError(Cat("version ", header.version, " of the take-over; this is ", kVersion));
  }
  Message received;
  received.kind = header.kind;
  received.number = header.number;
  text.resize(static_cast<size_t>(got) - sizeof(header));
  received.text = std::move(text);
  received.fds = std::move(fds.fds);
  return std::optional<Message>(std::move(received));
}

absl::StatusOr<std::string> ControlPlace(const Address& address) {
  const std::string suffix = Cat(".", address.scheme, ".ctl");
  switch (address.kind) {
    case Address::Kind::kAbstract: {
      const std::string place = Cat("@", address.rest, suffix);
      if (place.size() > sizeof(sockaddr_un::sun_path)) {
        return absl::InvalidArgumentError(Cat(address.ToString(), " cannot be handed over: there is no room for ", suffix,
                                              " behind the name (", sizeof(sockaddr_un::sun_path) - 1 - suffix.size(),
                                              " bytes at most)"));
      }
      return place;
    }
    case Address::Kind::kPath: {
      ASSIGN_OR_RETURN(const std::string path, AbsolutePath(address.rest));
      return Cat(path, suffix);
    }
    case Address::Kind::kName: {
      ASSIGN_OR_RETURN(const std::string directory, ServerDirectory());
      return Cat(directory, "/", address.rest, suffix);
    }
  }
  return absl::InvalidArgumentError("an address of no kind");
}

}  // namespace ipcrpc::takeover
