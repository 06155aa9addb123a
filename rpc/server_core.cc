#include "rpc/server_core.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "rpc/server_connection.h"
#include "transport/base/clock.h"

namespace ipcrpc::rpc {
namespace {

// For clients that do not read their last answers.
constexpr int64_t kCloseGraceNs = 500'000'000;
// Between two looks at a runtime that this thread drives.
constexpr int64_t kDrivePauseNs = 1'000'000;

std::chrono::steady_clock::time_point TimePoint(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

}  // namespace

void ServerCore::AddLink(std::unique_ptr<Link> link) {
  auto connection = std::make_shared<ServerConnection>(std::move(link), shared_from_this());
  {
    std::lock_guard lock(mu_);
    if (draining()) return;  // the link closes
    connections_.insert(connection);
    newcomers_.push_back({connection.get(), MonotonicNs() + limits_.greeting_ns});
    newcomer_at_[connection.get()] = std::prev(newcomers_.end());
    if (greeting_timer_ == 0) {
      greeting_timer_ = runtime_->timers().Add([weak = weak_from_this()] {
        if (auto self = weak.lock()) self->DropSilent();
      });
    }
    // It finds those who have come since by itself.
    if (!std::exchange(greeting_timer_set_, true)) runtime_->timers().Set(greeting_timer_, newcomers_.front().deadline_ns);
  }
  connection->Start();
}

ServerCore::~ServerCore() {
  if (greeting_timer_ != 0) runtime_->timers().Remove(greeting_timer_);
}

void ServerCore::Greeted(ServerConnection* connection) {
  std::lock_guard lock(mu_);
  ForgetNewcomer(connection);
}

void ServerCore::ForgetNewcomer(ServerConnection* connection) {
  const auto it = newcomer_at_.find(connection);
  if (it == newcomer_at_.end()) return;
  newcomers_.erase(it->second);
  newcomer_at_.erase(it);
}

void ServerCore::DropSilent() {
  std::vector<std::shared_ptr<ServerConnection>> silent;
  {
    std::lock_guard lock(mu_);
    const int64_t now = MonotonicNs();
    while (!newcomers_.empty() && newcomers_.front().deadline_ns <= now) {
      ServerConnection* const connection = newcomers_.front().connection;
      silent.push_back(std::static_pointer_cast<ServerConnection>(connection->shared_from_this()));
      ForgetNewcomer(connection);
    }
    greeting_timer_set_ = !newcomers_.empty();
    if (greeting_timer_set_) runtime_->timers().Set(greeting_timer_, newcomers_.front().deadline_ns);
  }
  for (const auto& connection : silent) connection->DropSilent();
}

void ServerCore::Remove(ServerConnection* connection) {
  std::lock_guard lock(mu_);
  ForgetNewcomer(connection);
  // The caller holds the connection.
  connections_.erase(std::static_pointer_cast<ServerConnection>(connection->shared_from_this()));
  TellIfDeserted();
  changed_.notify_all();
}

void ServerCore::ExpectListeners(size_t listeners, std::function<void()> on_deserted) {
  std::lock_guard lock(mu_);
  listeners_ = listeners;
  if (listeners > 0) on_deserted_ = std::move(on_deserted);
}

void ServerCore::ListenerExhausted() {
  std::lock_guard lock(mu_);
  --listeners_;
  TellIfDeserted();
}

void ServerCore::TellIfDeserted() {
  if (listeners_ == 0 && connections_.empty() && on_deserted_) std::exchange(on_deserted_, {})();
}

bool ServerCore::BeginCall() {
  // Counted first: Drain() either sees the call or the call sees Drain().
  calls_.fetch_add(1, std::memory_order_seq_cst);
  if (!turns_away_.load(std::memory_order_seq_cst)) return true;
  EndCall();
  return false;
}

void ServerCore::EndCall() {
  if (calls_.fetch_sub(1, std::memory_order_seq_cst) == 1 && draining()) {
    std::lock_guard lock(mu_);
    changed_.notify_all();
  }
}

void ServerCore::NoteChange() {
  if (!draining()) return;
  std::lock_guard lock(mu_);
  changed_.notify_all();
}

std::vector<std::shared_ptr<ServerConnection>> ServerCore::Connections() {
  std::lock_guard lock(mu_);
  return {connections_.begin(), connections_.end()};
}

void ServerCore::LimitDrain(int64_t deadline_ns) {
  std::lock_guard lock(mu_);
  drain_deadline_ns_ = std::min(drain_deadline_ns_, deadline_ns);
  changed_.notify_all();
}

bool ServerCore::Await(const std::function<bool()>& done, bool bounded, int64_t at_most_ns) {
  std::unique_lock lock(mu_);
  while (!done()) {
    int64_t until = bounded ? std::min(drain_deadline_ns_, at_most_ns) : kNoDeadline;
    if (until != kNoDeadline && MonotonicNs() >= until) return false;
    if (!runtime_->threaded()) {
      lock.unlock();
      runtime_->RunOnce();
      lock.lock();
      if (done()) break;
      until = std::min(until, MonotonicNs() + kDrivePauseNs);
    }
    if (until == kNoDeadline) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, TimePoint(until));
    }
  }
  return true;
}

void ServerCore::Drain(int64_t patience_ns) {
  draining_.store(true, std::memory_order_seq_cst);
  for (const auto& connection : Connections()) connection->SayGoodbye();
  if (!runtime_->stopped()) {
    const auto all_parted = [this] {
      return std::all_of(connections_.begin(), connections_.end(), [](const auto& connection) { return connection->parted(); });
    };
    Await(all_parted, /*bounded=*/true, MonotonicNs() + patience_ns);
  }
  turns_away_.store(true, std::memory_order_seq_cst);
  const auto idle = [this] { return calls_.load(std::memory_order_seq_cst) == 0; };
  if (!Await(idle, /*bounded=*/true)) {
    for (const auto& connection : Connections()) connection->CancelCalls();
    Await(idle, /*bounded=*/false);
  }
  const int64_t close_by = MonotonicNs() + kCloseGraceNs;
  for (const auto& connection : Connections()) connection->CloseWhenDrained(close_by);
  if (runtime_->stopped()) {  // at exit: nobody else will
    for (const auto& connection : Connections()) connection->OnClosed();
  }
  Await([this] { return connections_.empty(); }, /*bounded=*/false);
}

}  // namespace ipcrpc::rpc
