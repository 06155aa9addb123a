// The keys of channel and server options under the names that gRPC's users know. The first ones mean something here; the rest
// are taken and ignored: on one machine there is no name resolution, no balancing, no idle network, no compression.
#pragma once

#include "ipcrpc/channel.h"

// Milliseconds.
#define IPCRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS "ipcrpc.initial_reconnect_backoff_ms"
#define IPCRPC_ARG_MIN_RECONNECT_BACKOFF_MS "ipcrpc.min_reconnect_backoff_ms"
#define IPCRPC_ARG_MAX_RECONNECT_BACKOFF_MS "ipcrpc.max_reconnect_backoff_ms"
// Bytes of one message, -1 unlimited.
#define IPCRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH "ipcrpc.max_receive_message_length"
#define IPCRPC_ARG_MAX_MESSAGE_LENGTH IPCRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH
#define IPCRPC_ARG_MAX_SEND_MESSAGE_LENGTH "ipcrpc.max_send_message_length"
// Calls at once on one connection of a server.
#define IPCRPC_ARG_MAX_CONCURRENT_STREAMS "ipcrpc.max_concurrent_streams"

#define IPCRPC_ARG_ALLOW_REUSEPORT "ipcrpc.so_reuseport"
#define IPCRPC_ARG_DEFAULT_AUTHORITY "ipcrpc.default_authority"
#define IPCRPC_ARG_ENABLE_HTTP_PROXY "ipcrpc.enable_http_proxy"
#define IPCRPC_ARG_ENABLE_RETRIES "ipcrpc.enable_retries"
#define IPCRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA "ipcrpc.http2.max_pings_without_data"
#define IPCRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS "ipcrpc.keepalive_permit_without_calls"
#define IPCRPC_ARG_KEEPALIVE_TIME_MS "ipcrpc.keepalive_time_ms"
#define IPCRPC_ARG_KEEPALIVE_TIMEOUT_MS "ipcrpc.keepalive_timeout_ms"
#define IPCRPC_ARG_LB_POLICY_NAME "ipcrpc.lb_policy_name"
#define IPCRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS "ipcrpc.max_connection_age_grace_ms"
#define IPCRPC_ARG_MAX_CONNECTION_AGE_MS "ipcrpc.max_connection_age_ms"
#define IPCRPC_ARG_MAX_CONNECTION_IDLE_MS "ipcrpc.max_connection_idle_ms"
#define IPCRPC_ARG_MAX_METADATA_SIZE "ipcrpc.max_metadata_size"
#define IPCRPC_ARG_MINIMAL_STACK "ipcrpc.minimal_stack"
#define IPCRPC_ARG_PRIMARY_USER_AGENT_STRING "ipcrpc.primary_user_agent"
#define IPCRPC_ARG_SECONDARY_USER_AGENT_STRING "ipcrpc.secondary_user_agent"
#define IPCRPC_ARG_SERVICE_CONFIG "ipcrpc.service_config"
#define IPCRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL "ipcrpc.use_local_subchannel_pool"
