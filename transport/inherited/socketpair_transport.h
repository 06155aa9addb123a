// The scheme `socketpair:N`: a stream over the inherited unix socket N, connected to the peer from the start.
//
// Who is at the other end: SO_PEERCRED would name whoever made the pair, often the parent of both. So each end
// greets the other before its stream begins, with 8 bytes ("ipcC", version 1, three zero bytes) that carry its
// SCM_CREDENTIALS, which the kernel has checked: pid, uid and gid of the process that greets, as of that
// moment (a privileged one may name others). An end that is handed on after its greeting keeps that identity, as a
// connected socket does; whoever has the end can also pass it on, so it tells who speaks, not who listens in.
// A peer that we see no pid of, in another PID namespace, has pid 0.
//
// Parameter: buffer=BYTES, the size of the socket's buffers.
#pragma once

#include "transport/scheme.h"

namespace ipcrpc {

const Scheme& SocketpairScheme();

}  // namespace ipcrpc
