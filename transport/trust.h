// Processes that rely on each other: what an address may ask for of a peer that could harm us by it.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/peer.h"

namespace ipcrpc {

// Whether the kernel vouches that the peer is a process of our own user.
bool OfOurUid(const PeerIdentity& peer);

// trust=peer: what the peer has lent is read in place, without a copy first. A listener means by it the peers of its own uid, and reads of
// others as ever. INVALID_ARGUMENT: another value.
absl::StatusOr<bool> TrustParameter(const Address& address);
// For who connects. PERMISSION_DENIED: the server is another user's.
absl::Status CheckTrust(const Address& address, const PeerIdentity& server);

}  // namespace ipcrpc
