// The one table of transports. A scheme is a name, what it can do, and how to reach it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "transport/link.h"

namespace ipcrpc {

struct Scheme {
  std::string_view name;     // "shm"
  std::string_view summary;  // one line for `ipcrpc transports`
  Capabilities capabilities;

  // Binds the address and starts to listen. INVALID_ARGUMENT: the address cannot mean anything here;
  // ALREADY_EXISTS: a living server has it; PERMISSION_DENIED, FAILED_PRECONDITION: the system refuses,
  // the message says what would help.
  absl::StatusOr<std::unique_ptr<Listener>> (*listen)(const Address& address);

  // Connects, by `deadline_ns` at the latest (CLOCK_MONOTONIC). UNAVAILABLE: nobody is there (the
  // message lists every place tried); PERMISSION_DENIED: somebody is, but not one to be believed, or they
  // refuse us; DEADLINE_EXCEEDED: no answer; FAILED_PRECONDITION: incompatible versions.
  absl::StatusOr<std::unique_ptr<Link>> (*connect)(const Address& address, int64_t deadline_ns);
};

std::span<const Scheme> Schemes();

// INVALID_ARGUMENT with the nearest known name when there is no such scheme.
absl::StatusOr<const Scheme*> FindScheme(std::string_view name);

absl::StatusOr<std::unique_ptr<Listener>> Listen(const Address& address);
absl::StatusOr<std::unique_ptr<Link>> Connect(const Address& address, int64_t deadline_ns);

}  // namespace ipcrpc
