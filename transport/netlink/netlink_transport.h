// The scheme `netlink`: a byte stream cut into datagrams, between netlink sockets of user space, a pair for each client.
#pragma once

#include "transport/rendezvous/mechanism.h"
#include "transport/scheme.h"

namespace ipcrpc {

const rendezvous::Mechanism& NetlinkMechanism();
Scheme NetlinkScheme();

}  // namespace ipcrpc
