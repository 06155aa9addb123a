// The one table of transports. A scheme is a name, what it can do, and how to reach it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/link.h"

namespace ipcrpc {

struct Scheme {
  std::string_view name;     // "shm"
  std::string_view summary;  // one line for `ipcrpc transports`
  Capabilities capabilities;
  std::span<const std::string_view> parameters;  // of its addresses; others are refused before listen and connect
  bool automatic = false;                        // `ipc:` tries it, in the order of the table

  // Binds the address and starts to listen. INVALID_ARGUMENT: the address cannot mean anything here;
  // ALREADY_EXISTS: a living server has it; PERMISSION_DENIED, FAILED_PRECONDITION: the system refuses,
  // the message says what would help.
  absl::StatusOr<std::unique_ptr<Listener>> (*listen)(const Address& address);

  // Connects, by `deadline_ns` at the latest (CLOCK_MONOTONIC). UNAVAILABLE: nobody is there (the
  // message lists every place tried); PERMISSION_DENIED: somebody is, but not one to be believed, or they
  // refuse us; DEADLINE_EXCEEDED: no answer; FAILED_PRECONDITION: incompatible versions.
  absl::StatusOr<std::unique_ptr<Link>> (*connect)(const Address& address, int64_t deadline_ns);

  // Listens with what Listener::handles() of another process, of our own user, gave; Own() makes the address ours. Null:
  // addresses of this scheme cannot be taken over.
  absl::StatusOr<std::unique_ptr<Listener>> (*adopt)(const Address& address, std::vector<UniqueFd> handles) = nullptr;
};

// Fastest first.
std::span<const Scheme> Schemes();

// INVALID_ARGUMENT with the nearest known name when there is no such scheme.
absl::StatusOr<const Scheme*> FindScheme(std::string_view name);

absl::StatusOr<std::unique_ptr<Listener>> Listen(const Address& address);
absl::StatusOr<std::unique_ptr<Listener>> Adopt(const Address& address, std::vector<UniqueFd> handles);

// A transport that the automatic choice (`ipc:`) passed over, and why.
struct Refusal {
  std::string_view scheme;
  bool offered;  // somebody is there by that transport; what kept us from it is worth a warning
  std::string reason;
};

// As Scheme::connect. With `ipc:` the first transport of the table that works is taken, among the automatic ones. A server says
// what it offers by the names it has made, so each is simply tried. A parameter that only some of them know is for
// those. `refused`, when given, gets those
// that were tried before it, or all of them when none worked; then PERMISSION_DENIED if one of them said so, else
// UNAVAILABLE, and the message has every reason.
absl::StatusOr<std::unique_ptr<Link>> Connect(const Address& address, int64_t deadline_ns,
                                              std::vector<Refusal>* refused = nullptr);

}  // namespace ipcrpc
