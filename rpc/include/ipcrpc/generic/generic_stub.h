// Calls of methods that are known by name alone, at run time: what proxies and tools make.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "ipcrpc/channel.h"
#include "ipcrpc/client_context.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/internal/client_unary_call.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/byte_buffer.h"
#include "ipcrpc/support/client_callback.h"
#include "ipcrpc/support/stub_options.h"

namespace ipcrpc {

// Of the callback API, whose rules hold (support/client_callback.h), but for the UnaryCall() that blocks. A method is
// "/package.Service/Method"; one that the server does not have ends with UNIMPLEMENTED. Any number of names may be called: a name
// costs memory for good only up to a bound.
// The types are those of messages: ByteBuffer, a protobuf message, or protobuf's base class where the object has its type.
// Thread-safe; calls keep the channel.
template <class Request, class Response>
class TemplatedGenericStub final {
 public:
  explicit TemplatedGenericStub(std::shared_ptr<ChannelInterface> channel) : channel_(std::move(channel)) {}

  // Makes a unary call; the calling thread waits for its end, which is the fastest way. `*response` is overwritten when it ends with
  // OK, and left alone otherwise. Not in gRPC.
  Status UnaryCall(ClientContext* context, const std::string& method, StubOptions /*options*/, const Request* request,
                   Response* response) {
    return internal::BlockingUnaryCall(channel_.get(), internal::RpcMethod::AtRunTime(method, internal::RpcMethod::NORMAL_RPC), context,
                                       *request, response);
  }

  // Starts a unary call. `*request` may go once this has returned; `*response` and the context must live until `on_completion`,
  // which gets OK only when `*response` has been filled.
  void UnaryCall(ClientContext* context, const std::string& method, StubOptions /*options*/, const Request* request,
                 Response* response, std::function<void(Status)> on_completion) {
    internal::CallbackUnaryCall(channel_.get(), internal::RpcMethod::AtRunTime(method, internal::RpcMethod::NORMAL_RPC), context,
                                request, response, std::move(on_completion));
  }

  // Makes a unary call, which begins with the reactor's StartCall(), until which `*request` must live.
  void PrepareUnaryCall(ClientContext* context, const std::string& method, StubOptions /*options*/, const Request* request,
                        Response* response, ClientUnaryReactor* reactor) {
    internal::CallbackUnaryCall(channel_.get(), internal::RpcMethod::AtRunTime(method, internal::RpcMethod::NORMAL_RPC), context,
                                request, response, reactor);
  }

  // Makes a call of messages both ways, which begins with the reactor's StartCall(). It may be one of a method of any shape, whose
  // messages are as many as that says: of a unary method one each way.
  void PrepareBidiStreamingCall(ClientContext* context, const std::string& method, StubOptions /*options*/,
                                ClientBidiReactor<Request, Response>* reactor) {
    internal::CallbackStreamingCall(
        channel_.get(), internal::RpcMethod::AtRunTime(method, internal::RpcMethod::BIDI_STREAMING), context, reactor);
  }

 private:
  const std::shared_ptr<ChannelInterface> channel_;
};

using GenericStub = TemplatedGenericStub<ByteBuffer, ByteBuffer>;

}  // namespace ipcrpc
