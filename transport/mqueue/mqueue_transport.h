// The scheme `mqueue`: a byte stream cut into messages, over a pair of POSIX message queues for each client.
#pragma once

#include "transport/rendezvous/mechanism.h"
#include "transport/scheme.h"

namespace ipcrpc {

const rendezvous::Mechanism& MqueueMechanism();
Scheme MqueueScheme();

}  // namespace ipcrpc
