// An intercepted client's call that a thread waits for.
#pragma once

#include <memory>

#include "ipcrpc/internal/call.h"
#include "rpc/interception/intercepted_channel.h"

namespace ipcrpc::internal {

// Either may turn out a plain call, where no interceptor wants it.
std::unique_ptr<ClientCall> StartIntercepted(InterceptedChannel& channel, const RpcMethod& method, ClientContext* context,
                                             const OutgoingMessage* request);
Status InterceptedUnaryCall(InterceptedChannel& channel, const RpcMethod& method, ClientContext* context,
                            const OutgoingMessage& request, const IncomingMessage& response);

}  // namespace ipcrpc::internal
