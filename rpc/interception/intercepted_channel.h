// A channel whose calls pass interceptors on their way to a plain one.
#pragma once

#include <memory>
#include <vector>

#include "ipcrpc/channel.h"
#include "ipcrpc/support/client_interceptor.h"
#include "rpc/client_channel.h"

namespace ipcrpc::internal {

class InterceptedChannel final : public ChannelInterface, public std::enable_shared_from_this<InterceptedChannel> {
 public:
  using Factories = std::vector<std::unique_ptr<experimental::ClientInterceptorFactoryInterface>>;

  InterceptedChannel(std::shared_ptr<rpc::ClientChannel> plain, Factories factories);
  // The same without those before `first`.
  InterceptedChannel(std::shared_ptr<InterceptedChannel> origin, size_t first);

  // Null: a plain one.
  static InterceptedChannel* Of(ChannelInterface* channel) { return channel->intercepted_; }

  rpc::ClientChannel* plain() const { return plain_.get(); }
  // The one that the program made.
  std::shared_ptr<InterceptedChannel> origin() { return origin_ != nullptr ? origin_ : shared_from_this(); }
  size_t first() const { return first_; }
  const Factories& factories() const { return origin_ != nullptr ? origin_->factories_ : factories_; }

  ConnectivityState GetState(bool try_to_connect) override { return plain_->GetState(try_to_connect); }
  TransportInfo GetTransportInfo() override { return plain_->GetTransportInfo(); }

 private:
  bool WaitForStateChangeNs(ConnectivityState last, int64_t deadline_ns) override;
  bool WaitForConnectedNs(int64_t deadline_ns) override;

  const std::shared_ptr<rpc::ClientChannel> plain_;
  const Factories factories_;
  const std::shared_ptr<InterceptedChannel> origin_;  // null: this one
  const size_t first_ = 0;
};

}  // namespace ipcrpc::internal
