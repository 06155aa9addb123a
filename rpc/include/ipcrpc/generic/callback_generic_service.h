// A service for methods that are known by name alone, at run time: what proxies are made of.
#pragma once

#include <memory>
#include <string>

#include "ipcrpc/export.h"
#include "ipcrpc/server_context.h"
#include "ipcrpc/support/byte_buffer.h"
#include "ipcrpc/support/server_callback.h"

namespace ipcrpc {

class PreforkPool;
class ServerBuilder;
namespace internal {
class MethodHandler;
}

// Both ways, whatever the shape of the method is to the client: of a unary call it reads one message and writes one.
using ServerGenericBidiReactor = ServerBidiReactor<ByteBuffer, ByteBuffer>;

// Has every method that no registered service has. Given to ServerBuilder::RegisterCallbackGenericService(), not owned by the
// server, which it must outlive.
class IPCRPC_EXPORT CallbackGenericService {
 public:
  virtual ~CallbackGenericService() = default;

  // The reactor of one call, for which CallbackServerContext's rules hold: on a thread of the library, many at once. Null, and
  // this default, ends the call with UNIMPLEMENTED.
  virtual ServerGenericBidiReactor* CreateReactor(GenericCallbackServerContext* context);

 private:
  friend class PreforkPool;
  friend class ServerBuilder;
  class Handler;

  // Of one method, which is registered by that name; without one, of all that have no handler of their own.
  std::unique_ptr<internal::MethodHandler> NewHandler(std::string method = "");
};

}  // namespace ipcrpc
