// The scheme `shm`: rendezvous on a unix SOCK_SEQPACKET socket, NAME.shm.
#pragma once

#include "transport/scheme.h"

namespace ipcrpc::shm {

extern const Scheme kScheme;

}  // namespace ipcrpc::shm
