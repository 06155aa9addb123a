// A unary call with the types of its messages. Not for users.
#pragma once

#include "ipcrpc/internal/call.h"
#include "ipcrpc/internal/message_codec.h"

namespace ipcrpc::internal {

// `response` is overwritten when the call ends with OK, and left alone otherwise.
template <typename Request, typename Response>
Status BlockingUnaryCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                         const Request& request, Response* response) {
  return BlockingUnaryCall(channel, method, context, Outgoing(request), Incoming(response));
}

}  // namespace ipcrpc::internal
