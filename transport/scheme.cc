#include "transport/scheme.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "transport/address_parameters.h"
#include "transport/base/clock.h"
#include "transport/base/nearest.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/exec/exec_transport.h"
#include "transport/fifo/fifo_transport.h"
#include "transport/inherited/pipe_transport.h"
#include "transport/inherited/socketpair_transport.h"
#include "transport/inherited/stdio_transport.h"
#include "transport/inproc/inproc_transport.h"
#include "transport/mqueue/mqueue_transport.h"
#include "transport/netlink/netlink_transport.h"
#include "transport/shm/shm_transport.h"
#include "transport/sysvmq/sysvmq_transport.h"
#include "transport/unix/unix_transport.h"

namespace ipcrpc {
namespace {

bool Knows(const Scheme& scheme, std::string_view parameter) {
  return std::find(scheme.parameters.begin(), scheme.parameters.end(), parameter) != scheme.parameters.end();
}

absl::StatusOr<const Scheme*> SchemeOf(const Address& address) {
  ASSIGN_OR_RETURN(const Scheme* scheme, FindScheme(address.scheme));
  RETURN_IF_ERROR(CheckParameters(address, scheme->parameters));
  return scheme;
}

std::vector<const Scheme*> AutomaticCandidates() {
  std::vector<const Scheme*> candidates;
  for (const Scheme& scheme : Schemes()) {
    if (scheme.automatic) candidates.push_back(&scheme);
  }
  return candidates;
}

// What at least one of them knows.
std::vector<std::string_view> ParametersOf(std::span<const Scheme* const> schemes) {
  std::vector<std::string_view> known;
  for (const Scheme* scheme : schemes) {
    for (std::string_view parameter : scheme->parameters) {
      if (std::find(known.begin(), known.end(), parameter) == known.end()) known.push_back(parameter);
    }
  }
  return known;
}

absl::StatusOr<std::unique_ptr<Link>> ConnectAutomatically(const Address& address, int64_t deadline_ns,
                                                           std::vector<Refusal>* refused) {
  const std::vector<const Scheme*> candidates = AutomaticCandidates();
  RETURN_IF_ERROR(CheckParameters(address, ParametersOf(candidates)));
  absl::StatusCode code = absl::StatusCode::kUnavailable;
  for (const Scheme* scheme : candidates) {
    Address candidate = address;
    candidate.scheme = scheme->name;
    std::erase_if(candidate.parameters, [scheme](const auto& entry) { return !Knows(*scheme, entry.first); });
    absl::StatusOr<std::unique_ptr<Link>> link = scheme->connect(candidate, deadline_ns);
    if (link.ok()) return link;
    refused->push_back({scheme->name, !absl::IsUnavailable(link.status()), std::string(MessageOf(link.status()))});
    if (absl::IsPermissionDenied(link.status())) code = link.status().code();
    if (absl::IsDeadlineExceeded(link.status()) && deadline_ns <= MonotonicNs()) {
      code = link.status().code();
      break;
    }
  }
  std::vector<std::string> reasons;
  for (const Refusal& refusal : *refused) reasons.push_back(refusal.reason);
  return absl::Status(code, Join(reasons, "; "));
}

}  // namespace

std::span<const Scheme> Schemes() {
  static const std::array kSchemes = {
      shm::ShmScheme(),
      UnixScheme(),
      MqueueScheme(),
      FifoScheme(),
      SysvmqScheme(),
      NetlinkScheme(),
      InprocScheme(),
      SocketpairScheme(),
      PipeScheme(),
      StdioScheme(),
      ExecScheme(),
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
  if (address.automatic()) {
    return absl::InvalidArgumentError(Cat("cannot listen at '", address.ToString(),
                                          "': a server names its transport, like unix:",
                                          address.kind == Address::Kind::kAbstract ? "@" : "", address.rest));
  }
  ASSIGN_OR_RETURN(const Scheme* scheme, SchemeOf(address));
  return scheme->listen(address);
}

absl::StatusOr<std::unique_ptr<Listener>> Adopt(const Address& address, std::vector<UniqueFd> handles) {
  ASSIGN_OR_RETURN(const Scheme* scheme, SchemeOf(address));
  if (scheme->adopt == nullptr) {
    return absl::UnimplementedError(Cat(scheme->name, ": addresses cannot be taken over"));
  }
  return scheme->adopt(address, std::move(handles));
}

absl::StatusOr<std::unique_ptr<Link>> Connect(const Address& address, int64_t deadline_ns,
                                              std::vector<Refusal>* refused) {
  std::vector<Refusal> unwanted;
  if (refused == nullptr) refused = &unwanted;
  refused->clear();
  if (address.automatic()) return ConnectAutomatically(address, deadline_ns, refused);
  ASSIGN_OR_RETURN(const Scheme* scheme, SchemeOf(address));
  return scheme->connect(address, deadline_ns);
}

}  // namespace ipcrpc
