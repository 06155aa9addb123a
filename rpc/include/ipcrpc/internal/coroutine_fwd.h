// What generated headers name of the coroutine API without its headers. Their coroutine parts are templates of CoroutineApi,
// which <ipcrpc/coroutine.h> completes: who does not include it does not pay for it, and every translation unit sees the
// same classes all the same, which an #ifdef would not give. To the 1.7 s that a generated header with six methods takes to
// compile, <ipcrpc/coroutine.h> would add 0.2 s; these templates add nothing that was seen. Not for users.
#pragma once

namespace ipcrpc::internal {

struct CoroutineApi;  // incomplete where used: include <ipcrpc/coroutine.h>

}  // namespace ipcrpc::internal
