// Two links made one: what comes in at either goes out at the other, frame by frame.
#pragma once

#include "absl/status/status.h"
#include "transport/link.h"

namespace ipcrpc {

// Until either ends; then what the other still has to be sent is sent, and it is closed. By the calling thread alone, which
// holds all four roles. Who does not read stops the other's frames and nothing else. OK when one of the peers hung up.
// FAILED_PRECONDITION, at once: a frame that the one link takes may be too large for the other (nobody behind a
// relay knows of the link beyond it, and frames cannot be cut: that is for the layer that made them).
absl::Status Relay(Link& a, Link& b);

}  // namespace ipcrpc
