// The scheme `shm`: rendezvous on a unix SOCK_SEQPACKET socket, NAME.shm.
#pragma once

#include "transport/scheme.h"

namespace ipcrpc::shm {

Scheme ShmScheme();

}  // namespace ipcrpc::shm
