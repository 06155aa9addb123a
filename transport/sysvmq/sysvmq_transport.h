// The scheme `sysvmq`: a byte stream cut into messages, over a pair of System V message queues for each client.
#pragma once

#include "transport/rendezvous/mechanism.h"
#include "transport/scheme.h"

namespace ipcrpc {

const rendezvous::Mechanism& SysvmqMechanism();
Scheme SysvmqScheme();

}  // namespace ipcrpc
