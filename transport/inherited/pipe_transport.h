// The scheme `pipe:R,W`: a stream over two inherited descriptors, R to read from and W to write to; pipes, FIFOs or
// stream sockets (`pipe:3,3` for one that goes both ways). Nobody vouches for who is at the other end.
//
// Parameter: buffer=BYTES, the size of the pipes, or of the socket's buffers.
#pragma once

#include "transport/base/fd.h"
#include "transport/scheme.h"

namespace ipcrpc {

const Scheme& PipeScheme();

// A link over descriptors that passed CheckAdoptable(), which may be one socket twice. Also stdio: makes its link so.
absl::StatusOr<std::unique_ptr<Link>> MakePipeLink(UniqueFd read, UniqueFd write, const PeerIdentity& peer,
                                                   const Capabilities& capabilities, const Address& address);

}  // namespace ipcrpc
