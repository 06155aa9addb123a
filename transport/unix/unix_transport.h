// The scheme `unix`: byte streams over SOCK_STREAM sockets, at NAME.sock, a path or an @abstract name.
#pragma once

#include "transport/scheme.h"

namespace ipcrpc {

const Scheme& UnixScheme();

}  // namespace ipcrpc
