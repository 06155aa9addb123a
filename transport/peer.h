// Who is at the other end of a link, as far as the kernel or the handshake vouches for it.
#pragma once

#include "ipcrpc/peer_credentials.h"

namespace ipcrpc {

using PeerIdentity = PeerCredentials;

}  // namespace ipcrpc
