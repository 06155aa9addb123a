// A server that takes the addresses of one that runs: the side that starts.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/base/fd.h"
#include "transport/link.h"
#include "transport/takeover/offer.h"

namespace ipcrpc::takeover {

// By one thread.
class Succession {
 public:
  // All the addresses of this server: whoever has one of them is asked for all.
  explicit Succession(std::vector<Address> wanted) : wanted_(std::move(wanted)) {}

  // Asks the server that holds `address`, of our own uid, unless another address's server has offered it. Changes
  // nothing yet. UNIMPLEMENTED: the scheme cannot be taken over; UNAVAILABLE: its server does not allow it (or is gone);
  // PERMISSION_DENIED and others: it refuses.
  absl::StatusOr<Place> Take(const Address& address);

  // What was taken is ours, and those who had it know and do not accept any more: `places` are all that Take() gave. When this
  // fails, or is never called, they go on as before.
  absl::Status Confirm(std::span<Place* const> places);

  bool empty() const { return predecessors_.empty(); }

 private:
  struct Offered {
    std::string control_place;
    std::vector<UniqueFd> fds;
  };
  struct Predecessor {
    UniqueFd socket;
    std::string who;
  };

  absl::Status Ask(const std::string& control_place);

  const std::vector<Address> wanted_;
  std::vector<Offered> offered_;
  std::vector<Predecessor> predecessors_;
};

}  // namespace ipcrpc::takeover
