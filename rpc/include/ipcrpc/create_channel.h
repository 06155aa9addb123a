// Channels whose calls pass interceptors; those without are in channel.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/channel.h"
#include "ipcrpc/export.h"
#include "ipcrpc/support/channel_arguments.h"
#include "ipcrpc/support/client_interceptor.h"

namespace ipcrpc::experimental {

// As CreateCustomChannel(). Each call has an interceptor of each factory, in this order.
IPCRPC_EXPORT std::shared_ptr<Channel> CreateCustomChannelWithInterceptors(
    const std::string& target, const std::shared_ptr<ChannelCredentials>& credentials, const ChannelArguments& arguments,
    std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>> interceptor_creators);

}  // namespace ipcrpc::experimental
