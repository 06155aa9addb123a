#include "rpc/interception/intercepted_channel.h"

#include <chrono>
#include <utility>

namespace ipcrpc::internal {
namespace {

std::chrono::steady_clock::time_point TimePoint(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

}  // namespace

InterceptedChannel::InterceptedChannel(std::shared_ptr<rpc::ClientChannel> plain, Factories factories)
    : plain_(std::move(plain)), factories_(std::move(factories)) {
  intercepted_ = this;
}

InterceptedChannel::InterceptedChannel(std::shared_ptr<InterceptedChannel> origin, size_t first)
    : plain_(origin->plain_), origin_(std::move(origin)), first_(first) {
  intercepted_ = this;
}

bool InterceptedChannel::WaitForStateChangeNs(ConnectivityState last, int64_t deadline_ns) {
  return plain_->WaitForStateChange(last, TimePoint(deadline_ns));
}

bool InterceptedChannel::WaitForConnectedNs(int64_t deadline_ns) { return plain_->WaitForConnected(TimePoint(deadline_ns)); }

}  // namespace ipcrpc::internal
