// The keys of channel and server options under the names that gRPC's users know. Those of argument_names.h mean something
// here; the rest are taken and ignored: on one machine there is no name resolution, no balancing, no idle network, no
// compression.
#pragma once

#include "ipcrpc/argument_names.h"
#include "ipcrpc/channel.h"

inline constexpr auto& IPCRPC_ARG_MAX_MESSAGE_LENGTH = IPCRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH;
inline constexpr char IPCRPC_ARG_ALLOW_REUSEPORT[] = "ipcrpc.so_reuseport";
inline constexpr char IPCRPC_ARG_DEFAULT_AUTHORITY[] = "ipcrpc.default_authority";
inline constexpr char IPCRPC_ARG_ENABLE_HTTP_PROXY[] = "ipcrpc.enable_http_proxy";
inline constexpr char IPCRPC_ARG_ENABLE_RETRIES[] = "ipcrpc.enable_retries";
inline constexpr char IPCRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA[] = "ipcrpc.http2.max_pings_without_data";
inline constexpr char IPCRPC_ARG_LB_POLICY_NAME[] = "ipcrpc.lb_policy_name";
inline constexpr char IPCRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS[] = "ipcrpc.max_connection_age_grace_ms";
inline constexpr char IPCRPC_ARG_MAX_CONNECTION_AGE_MS[] = "ipcrpc.max_connection_age_ms";
inline constexpr char IPCRPC_ARG_MAX_CONNECTION_IDLE_MS[] = "ipcrpc.max_connection_idle_ms";
inline constexpr char IPCRPC_ARG_MAX_METADATA_SIZE[] = "ipcrpc.max_metadata_size";
inline constexpr char IPCRPC_ARG_MINIMAL_STACK[] = "ipcrpc.minimal_stack";
inline constexpr char IPCRPC_ARG_PRIMARY_USER_AGENT_STRING[] = "ipcrpc.primary_user_agent";
inline constexpr char IPCRPC_ARG_SECONDARY_USER_AGENT_STRING[] = "ipcrpc.secondary_user_agent";
inline constexpr char IPCRPC_ARG_SERVICE_CONFIG[] = "ipcrpc.service_config";
inline constexpr char IPCRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL[] = "ipcrpc.use_local_subchannel_pool";
