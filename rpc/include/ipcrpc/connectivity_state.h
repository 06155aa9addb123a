// The states of a channel under the names that gRPC's users know.
#pragma once

#include "ipcrpc/channel.h"

using ipcrpc_connectivity_state = ipcrpc::ConnectivityState;

inline constexpr ipcrpc_connectivity_state IPCRPC_CHANNEL_IDLE = ipcrpc::ConnectivityState::IDLE;
inline constexpr ipcrpc_connectivity_state IPCRPC_CHANNEL_CONNECTING = ipcrpc::ConnectivityState::CONNECTING;
inline constexpr ipcrpc_connectivity_state IPCRPC_CHANNEL_READY = ipcrpc::ConnectivityState::READY;
inline constexpr ipcrpc_connectivity_state IPCRPC_CHANNEL_TRANSIENT_FAILURE =
    ipcrpc::ConnectivityState::TRANSIENT_FAILURE;
inline constexpr ipcrpc_connectivity_state IPCRPC_CHANNEL_SHUTDOWN = ipcrpc::ConnectivityState::SHUTDOWN;
