#include "rpc/interception/client_interception.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "ipcrpc/create_channel.h"
#include "rpc/client_call.h"

namespace ipcrpc {
namespace {

std::atomic<experimental::ClientInterceptorFactoryInterface*> global_factory{nullptr};

}  // namespace

namespace experimental {

std::shared_ptr<Channel> CreateCustomChannelWithInterceptors(const std::string& target, const std::shared_ptr<ChannelCredentials>&,
                                                             const ChannelArguments& arguments,
                                                             std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>> creators) {
  return std::make_shared<internal::InterceptedChannel>(
      std::make_shared<rpc::ClientChannel>(target, arguments, IoRuntime::Default()), std::move(creators));
}

void RegisterGlobalClientInterceptorFactory(ClientInterceptorFactoryInterface* factory) {
  if (global_factory.exchange(factory) == nullptr) return;
  std::fprintf(stderr, "ipcrpc: there is a global factory of interceptors already\n");
  std::abort();
}

void TestOnlyResetGlobalClientInterceptorFactory() { global_factory = nullptr; }

}  // namespace experimental

// A plain channel where nobody intercepts.
std::shared_ptr<Channel> CreateCustomChannel(const std::string& target, const ChannelArguments& arguments) {
  return internal::WithGlobalInterceptors(std::make_shared<rpc::ClientChannel>(target, arguments, IoRuntime::Default()));
}

namespace internal {

std::shared_ptr<Channel> WithGlobalInterceptors(std::shared_ptr<rpc::ClientChannel> plain) {
  if (global_factory.load() == nullptr) return plain;
  return std::make_shared<InterceptedChannel>(std::move(plain), InterceptedChannel::Factories());
}

ClientInterception::ClientInterception(InterceptedChannel& channel, const RpcMethod& method, ClientContext& context)
    : context_(context), channel_(*channel.origin()), method_(method), info_(&context, method_, &channel_) {}

void ClientInterception::Add(experimental::ClientInterceptorFactoryInterface& factory, size_t number) {
  experimental::Interceptor* const interceptor = factory.CreateClientInterceptor(&info_);
  if (interceptor == nullptr) return;
  Interceptors::Add(interceptor);
  numbers_.push_back(number);
}

ClientInterception* ClientInterception::Begin(InterceptedChannel& channel, const RpcMethod& method, ClientContext& context) {
  if (context.used_ || context.interception_ != nullptr) StopForSecondUse(method);
  std::unique_ptr<ClientInterception> made(new ClientInterception(channel, method, context));
  const InterceptedChannel::Factories& factories = channel.factories();
  for (size_t i = channel.first(); i < factories.size(); ++i) made->Add(*factories[i], i);
  if (auto* const global = global_factory.load()) made->Add(*global, factories.size());
  if (made->size() == 0) return nullptr;
  ClientInterception* const interception = made.get();
  std::lock_guard lock(context.mu_);
  context.interception_ = std::move(made);
  if (context.cancelled_) interception->ShowCancel();
  return interception;
}

void ClientInterception::Leave() { std::lock_guard lock(context_.mu_); }

// Read, if they are not yet: what is changed in them stays.

ReceivedMetadata* ClientInterception::received_initial() {
  context_.GetServerInitialMetadata();
  return &context_.initial_metadata_;
}

ReceivedMetadata* ClientInterception::received_trailing() {
  context_.GetServerTrailingMetadata();
  return &context_.trailing_metadata_;
}

std::unique_ptr<ChannelInterface> ClientInterception::ChannelAfter(size_t i) {
  return std::make_unique<InterceptedChannel>(channel_.origin(), numbers_[i] + 1);
}

}  // namespace internal
}  // namespace ipcrpc
