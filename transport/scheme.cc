#include "transport/scheme.h"

#include <array>
#include <string>
#include <vector>

#include "transport/base/nearest.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/fifo/fifo_transport.h"
#include "transport/mqueue/mqueue_transport.h"
#include "transport/shm/shm_transport.h"
#include "transport/sysvmq/sysvmq_transport.h"
#include "transport/unix/unix_transport.h"

namespace ipcrpc {
namespace {

// The automatic choice of a client: by name, path or abstract name, the schemes of the table in its order,
// fastest first.
constexpr std::string_view kAutomatic = "ipc";

absl::StatusOr<std::unique_ptr<Link>> ConnectAutomatically(const Address& address, int64_t deadline_ns) {
  std::vector<std::string> failures;
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  for (const Scheme& scheme : Schemes()) {
    Address candidate = address;
    candidate.scheme = scheme.name;
    absl::StatusOr<std::unique_ptr<Link>> link = scheme.connect(candidate, deadline_ns);
    if (link.ok()) return link;
    failures.emplace_back(MessageOf(link.status()));
    if (code == absl::StatusCode::kUnavailable) code = link.status().code();
    if (absl::IsDeadlineExceeded(link.status())) break;
  }
  return absl::Status(code, Join(failures, "; "));
}

}  // namespace

std::span<const Scheme> Schemes() {
  static const std::array kSchemes = {
      shm::ShmScheme(),
      UnixScheme(),
      FifoScheme(),
      MqueueScheme(),
      SysvmqScheme(),
  };
  return kSchemes;
}

absl::StatusOr<const Scheme*> FindScheme(std::string_view name) {
  std::vector<std::string_view> names;
  for (const Scheme& scheme : Schemes()) {
    if (scheme.name == name) return &scheme;
    names.push_back(scheme.name);
  }
  return absl::InvalidArgumentError(Cat("there is no transport '", name, "' here", DidYouMean(name, names),
                                        " (there is: ", Join(names, " "), ")"));
}

absl::StatusOr<std::unique_ptr<Listener>> Listen(const Address& address) {
  if (address.scheme == kAutomatic) {
    return absl::InvalidArgumentError(Cat("cannot listen at '", address.ToString(),
                                          "': a server names its transport, like unix:",
                                          address.kind == Address::Kind::kAbstract ? "@" : "", address.rest));
  }
  ASSIGN_OR_RETURN(const Scheme* scheme, FindScheme(address.scheme));
  return scheme->listen(address);
}

absl::StatusOr<std::unique_ptr<Link>> Connect(const Address& address, int64_t deadline_ns) {
  if (address.scheme == kAutomatic) return ConnectAutomatically(address, deadline_ns);
  ASSIGN_OR_RETURN(const Scheme* scheme, FindScheme(address.scheme));
  return scheme->connect(address, deadline_ns);
}

}  // namespace ipcrpc
