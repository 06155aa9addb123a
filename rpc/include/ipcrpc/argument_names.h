// Names of channel and server arguments, for ChannelArguments::SetInt() and ServerBuilder::AddChannelArgument().
#pragma once

// Milliseconds between tries to connect: the first, which grows from try to try, and its bounds.
inline constexpr char IPCRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS[] = "ipcrpc.initial_reconnect_backoff_ms";
inline constexpr char IPCRPC_ARG_MIN_RECONNECT_BACKOFF_MS[] = "ipcrpc.min_reconnect_backoff_ms";
inline constexpr char IPCRPC_ARG_MAX_RECONNECT_BACKOFF_MS[] = "ipcrpc.max_reconnect_backoff_ms";

// Keepalive, off unless a time is given. When nothing has come from the peer for so many milliseconds it is asked whether
// it lives; one that does not answer within the timeout (20,000) is given up, and its calls end with UNAVAILABLE. A stopped
// process counts as dead then. Without a call only where that is allowed (1).
inline constexpr char IPCRPC_ARG_KEEPALIVE_TIME_MS[] = "ipcrpc.keepalive_time_ms";
inline constexpr char IPCRPC_ARG_KEEPALIVE_TIMEOUT_MS[] = "ipcrpc.keepalive_timeout_ms";
inline constexpr char IPCRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS[] = "ipcrpc.keepalive_permit_without_calls";

// Bytes, -1 unlimited.
inline constexpr char IPCRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH[] = "ipcrpc.max_receive_message_length";
inline constexpr char IPCRPC_ARG_MAX_SEND_MESSAGE_LENGTH[] = "ipcrpc.max_send_message_length";

// Server: calls in flight on one connection; milliseconds that a client has to say who it is.
inline constexpr char IPCRPC_ARG_MAX_CONCURRENT_STREAMS[] = "ipcrpc.max_concurrent_streams";
inline constexpr char IPCRPC_ARG_HANDSHAKE_TIMEOUT_MS[] = "ipcrpc.handshake_timeout_ms";
