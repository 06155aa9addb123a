#include "rpc/health/statuses.h"

#include <utility>

namespace ipcrpc::health {

void Statuses::Set(Entry& entry, Serving status) {
  if (entry.status == status) return;
  entry.status = status;
  for (Watcher* watcher : entry.watchers) watcher->OnStatus(status);
}

void Statuses::SetServingStatus(const std::string& service_name, bool serving) {
  std::lock_guard lock(mu_);
  Set(entries_[service_name], serving && !shut_down_ ? Serving::kServing : Serving::kNotServing);
}

void Statuses::SetServingStatus(bool serving) {
  std::lock_guard lock(mu_);
  if (shut_down_) return;
  for (auto& [name, entry] : entries_) {
    if (entry.status.has_value()) Set(entry, serving ? Serving::kServing : Serving::kNotServing);
  }
}

void Statuses::Shutdown() {
  std::lock_guard lock(mu_);
  shut_down_ = true;
  for (auto& [name, entry] : entries_) {
    if (entry.status.has_value()) Set(entry, Serving::kNotServing);
  }
}

Serving Statuses::Get(const std::string& service_name) const {
  std::lock_guard lock(mu_);
  const auto it = entries_.find(service_name);
  return it == entries_.end() ? Serving::kServiceUnknown : it->second.status.value_or(Serving::kServiceUnknown);
}

void Statuses::Add(const std::string& service_name, Watcher* watcher) {
  std::lock_guard lock(mu_);
  if (ended_) return watcher->OnEnd();
  Entry& entry = entries_[service_name];
  entry.watchers.insert(watcher);
  watcher->OnStatus(entry.status.value_or(Serving::kServiceUnknown));
}

void Statuses::Remove(const std::string& service_name, Watcher* watcher) {
  std::lock_guard lock(mu_);
  const auto it = entries_.find(service_name);
  if (it == entries_.end()) return;
  it->second.watchers.erase(watcher);
  if (it->second.watchers.empty() && !it->second.status.has_value()) entries_.erase(it);
}

void Statuses::End() {
  std::lock_guard lock(mu_);
  ended_ = true;
  for (auto& [name, entry] : entries_) {
    for (Watcher* watcher : std::exchange(entry.watchers, {})) watcher->OnEnd();
  }
}

}  // namespace ipcrpc::health
