#include "rpc/method_table.h"

#include "transport/base/ticks.h"

namespace ipcrpc::rpc {
namespace {

// A handler that takes longer than this, once, or on average, keeps a poller from its other connections.
constexpr uint64_t kLongRunUs = 1000;
constexpr uint64_t kLongMeanUs = 50;

}  // namespace

void Method::NoteInlineRun(uint64_t ticks) {
  const uint64_t mean = mean_ticks_.load(std::memory_order_relaxed);
  const uint64_t next = mean - mean / 16 + ticks / 16;
  mean_ticks_.store(next, std::memory_order_relaxed);
  const uint64_t per_us = TicksPerMicrosecond();
  if (ticks > kLongRunUs * per_us || next > kLongMeanUs * per_us) blocks_.store(true, std::memory_order_relaxed);
}

bool MethodTable::Add(const internal::RpcServiceMethod& method) {
  auto entry = std::make_unique<Method>();
  entry->name = method.name();
  entry->type = method.method_type();
  entry->handler = method.handler();
  return methods_.emplace(method.name(), std::move(entry)).second;
}

Method* MethodTable::Find(std::string_view name) const {
  const auto it = methods_.find(name);
  return it == methods_.end() ? nullptr : it->second.get();
}

}  // namespace ipcrpc::rpc
