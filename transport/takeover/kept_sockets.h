// Listening sockets that another process keeps and does not serve: a service manager, which made them, or was
// given them to keep while a server is started anew. So an address outlives its servers, and nobody is
// refused meanwhile: who connects waits in the socket's backlog. To the transports the keeper is what a
// predecessor and a successor are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/base/fd.h"
#include "transport/link.h"

namespace ipcrpc::takeover {

// By one thread.
class KeptSockets {
 public:
  void Add(UniqueFd socket) { sockets_.push_back(std::move(socket)); }

  // Listens with the socket that is bound at this address, which stays as it is when the listener goes; null:
  // there is none. As Scheme::listen, but that parameters about the file say nothing.
  absl::StatusOr<std::unique_ptr<Listener>> Take(const Address& address);

  // INVALID_ARGUMENT: some were not taken; says where they are bound.
  absl::Status CheckAllTaken() const;

 private:
  std::vector<UniqueFd> sockets_;  // until they are taken
};

// The socket of a listener that binds its address itself, for a process that is to keep it: the address then
// stays when the listener goes. Borrowed; -1: it cannot be kept, since it could not be told later where it is
// bound.
int KeepSocketOf(Listener& listener);

}  // namespace ipcrpc::takeover
