// The scheme `fifo`: a byte stream over a pair of named pipes for each client.
#pragma once

#include "transport/rendezvous/mechanism.h"
#include "transport/scheme.h"

namespace ipcrpc {

const rendezvous::Mechanism& FifoMechanism();
Scheme FifoScheme();

}  // namespace ipcrpc
