// Server reflection: lets tools ask a server which services it has and what their messages look like.
#pragma once

#include "ipcrpc/export.h"

namespace ipcrpc::reflection {

// Every server built from now on also serves grpc.reflection.v1.ServerReflection and its v1alpha. Thread-safe;
// calling it again does nothing.
IPCRPC_EXPORT void InitProtoReflectionServerBuilderPlugin();

}  // namespace ipcrpc::reflection
