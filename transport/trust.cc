#include "transport/trust.h"

#include <unistd.h>

#include "transport/address_parameters.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc {

bool OfOurUid(const PeerIdentity& peer) {
  return peer.vouched && peer.uid == geteuid() && peer.uid != PeerIdentity::kUnknownUid;
}

absl::StatusOr<bool> TrustParameter(const Address& address) {
  const std::string* const text = FindParameter(address, "trust");
  if (text == nullptr) return false;
  if (*text == "peer") return true;
  return BadParameter(address, "trust", "peer");
}

absl::Status CheckTrust(const Address& address, const PeerIdentity& server) {
  ASSIGN_OR_RETURN(const bool trusts, TrustParameter(address));
  if (!trusts || OfOurUid(server)) return absl::OkStatus();
  return absl::PermissionDeniedError(Cat("trust=peer is for a server of one's own user: the one at ", address.ToString(), " is ",
                                         server.ToString(), ", we are uid ", geteuid(), "; leave the parameter out"));
}

}  // namespace ipcrpc
