#include "transport/runtime/timers.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "transport/base/clock.h"

namespace ipcrpc {
namespace {

constexpr int64_t kNotSet = std::numeric_limits<int64_t>::max();

}  // namespace

uint64_t Timers::Add(std::function<void()> on_time) {
  std::lock_guard lock(mu_);
  if (fd_.get() < 0) {
    fd_ = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    watch_(fd_.get(), [this] { RunDue(); });
  }
  const uint64_t id = next_id_++;
  timers_.emplace(id, Timer{std::make_shared<const std::function<void()>>(std::move(on_time)), kNotSet});
  return id;
}

void Timers::Set(uint64_t id, int64_t when_ns) {
  std::lock_guard lock(mu_);
  const auto it = timers_.find(id);
  if (it == timers_.end()) return;
  due_.erase({it->second.when_ns, id});
  it->second.when_ns = when_ns;
  if (when_ns != kNotSet) due_.emplace(when_ns, id);
  Arm();
}

void Timers::Remove(uint64_t id) {
  std::lock_guard lock(mu_);
  const auto it = timers_.find(id);
  if (it == timers_.end()) return;
  due_.erase({it->second.when_ns, id});  // armed as it is: it wakes up for nothing, once
  timers_.erase(it);
}

void Timers::Arm() {
  itimerspec when = {};
  // A time of zero would disarm it.
  if (!due_.empty()) when.it_value = ToTimespec(std::max<int64_t>(1, due_.begin()->first));
  timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void Timers::RunDue() {
  uint64_t expirations;
  [[maybe_unused]] const ssize_t ignored = read(fd_.get(), &expirations, sizeof(expirations));
  std::vector<std::shared_ptr<const std::function<void()>>> run;
  {
    std::lock_guard lock(mu_);
    const int64_t now = MonotonicNs();
    while (!due_.empty() && due_.begin()->first <= now) {
      Timer& timer = timers_.at(due_.begin()->second);
      timer.when_ns = kNotSet;
      run.push_back(timer.on_time);
      due_.erase(due_.begin());
    }
    Arm();
  }
  for (const auto& on_time : run) (*on_time)();
}

}  // namespace ipcrpc
