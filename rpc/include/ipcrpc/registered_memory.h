// Memory that is written once and sent often.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "ipcrpc/export.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/slice.h"
#include "ipcrpc/unique_fd.h"

namespace ipcrpc {

// Nobody can change it once it is made (F_SEAL_WRITE). So a message of it, or of a part of it (Slice::sub()), is not copied by either
// side where the transport passes descriptors (shm, unix, socketpair) and the peer takes such messages: the peer maps it once for each
// connection, and reads it in place, whether it trusts us or not. Elsewhere, and of parts below 16 KiB, the bytes are copied as from
// any other memory.
//
// Whoever is sent a part of it can read all of it. It lives as long as a slice of it, here or at a peer; a forked child
// does not have it.

// Has `fill` write it, then seals it. RESOURCE_EXHAUSTED: there is not so much memory; INVALID_ARGUMENT: no bytes, or more
// than 4 GiB; FAILED_PRECONDITION: the system refuses shared memory (memfd_create).
IPCRPC_EXPORT Status RegisterMemory(size_t size, const std::function<void(std::span<std::byte>)>& fill, Slice* slice);

// Memory that somebody has made as a memfd with F_SEAL_WRITE, F_SEAL_SHRINK and F_SEAL_GROW, all of whose pages are there: no byte of
// it was left unwritten. INVALID_ARGUMENT says what it lacks.
IPCRPC_EXPORT Status RegisterMemory(UniqueFd memfd, Slice* slice);

}  // namespace ipcrpc
