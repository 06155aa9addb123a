// The interceptors of a client's call. Its context owns them.
#pragma once

#include <memory>

#include "ipcrpc/client_context.h"
#include "ipcrpc/support/client_interceptor.h"
#include "rpc/interception/batch.h"
#include "rpc/interception/intercepted_channel.h"

namespace ipcrpc::internal {

// Where somebody has registered a global factory of interceptors, a channel whose calls pass those; else the same one.
std::shared_ptr<Channel> WithGlobalInterceptors(std::shared_ptr<rpc::ClientChannel> plain);

class ClientInterception final : public Interceptors {
 public:
  // Takes the context, which serves one call. Null: nobody wants the call, which is a plain one then.
  static ClientInterception* Begin(InterceptedChannel& channel, const RpcMethod& method, ClientContext& context);

  ~ClientInterception() override { DestroyAll(); }

  InterceptedChannel& channel() const { return channel_; }
  ClientContext& context() const { return context_; }
  bool corked() const { return context_.corked_; }
  // At the end: no cancellation is being shown any more.
  void Leave();

  bool may_hijack() const override { return true; }
  SentMetadata* sent_initial() override { return &context_.send_metadata_; }
  ReceivedMetadata* received_initial() override;
  ReceivedMetadata* received_trailing() override;
  std::unique_ptr<ChannelInterface> ChannelAfter(size_t i) override;

 private:
  ClientInterception(InterceptedChannel& channel, const RpcMethod& method, ClientContext& context);
  void Add(experimental::ClientInterceptorFactoryInterface& factory, size_t number);

  ClientContext& context_;
  InterceptedChannel& channel_;  // the one that the program made; the call holds it
  const RpcMethod method_;       // with its name, for which interceptors ask to the last
  experimental::ClientRpcInfo info_;
  std::vector<size_t> numbers_;  // of each one's factory
};

}  // namespace ipcrpc::internal
