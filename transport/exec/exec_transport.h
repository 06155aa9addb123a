// The scheme `exec:COMMAND`, for clients: everything after the colon is run by /bin/sh -c, and its standard input and
// output are the stream: exec:ipcrpc-monitord --stdio, exec:ssh HOST ipcrpc stdio monitor. Each link is a process
// of its own. Its standard error is ours. (Pipes, not a socket: what many programs expect there.)
//
// When the link ends so do the pipes, and by that the command; see ChildProcess. It stays in our process group, so that ssh may ask
// at the terminal; what a command line starts beside its last command (`a & b`) is its own to end. The peer is the shell that runs it, or the
// command itself where the shell makes way for it; nobody vouches for what it is connected to.
#pragma once

#include "transport/scheme.h"

namespace ipcrpc {

const Scheme& ExecScheme();

}  // namespace ipcrpc
