#include "transport/base/spin.h"

#include <sched.h>

#include <mutex>
#include <set>
#include <utility>

#include "transport/base/ticks.h"

namespace ipcrpc {
namespace {

constexpr uint64_t kMinBudgetUs = 5;
constexpr uint64_t kMaxBudgetUs = 100;
constexpr uint64_t kSeedWakeUs = 25;          // until a sleep has been measured
constexpr uint64_t kContendedYieldUs = 100;     // a yield that takes longer ran somebody else than the peer and our own ticks
constexpr uint64_t kMinYieldBackoffUs = 10'000;
constexpr uint64_t kMaxYieldBackoffUs = 1'000'000;
constexpr uint32_t kRetryEvery = 64;
constexpr uint64_t kLongWayUs = 1000;      // a yield that takes longer gave a slice to somebody who has nothing to do with us
constexpr uint64_t kNoWayAfterUs = 10'000;

struct Waiters {
  std::mutex mu;
  std::set<const SpinPolicy*> alive;
};
Waiters& AllWaiters() {
  static auto* const all = new Waiters;  // some live until the very end
  return *all;
}

}  // namespace

int CurrentCpu() { return sched_getcpu(); }

bool OneProcessorAllowed() {
  static const bool one = [] {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1;
  }();
  return one;
}

Yielder::Yielder() : ticks_per_us_(TicksPerMicrosecond()) {}

bool Yielder::Once() {
  const uint64_t before = Ticks();
  sched_yield();
  const uint64_t after = Ticks();
  if (after - before <= kContendedYieldUs * ticks_per_us_) {
    backoff_ = 0;
    return true;
  }
  backoff_ = std::clamp(2 * backoff_, kMinYieldBackoffUs * ticks_per_us_, kMaxYieldBackoffUs * ticks_per_us_);
  not_until_ = after + backoff_;
  return false;
}

SpinPolicy::SpinPolicy(std::string who, SpinMode mode)
    : who_(std::move(who)), mode_(mode), ticks_per_us_(TicksPerMicrosecond()),
      budget_(2 * kSeedWakeUs * ticks_per_us_),
      wake_ewma_(kSeedWakeUs * ticks_per_us_) {
  const std::lock_guard lock(AllWaiters().mu);
  AllWaiters().alive.insert(this);
}

SpinPolicy::~SpinPolicy() {
  const std::lock_guard lock(AllWaiters().mu);
  AllWaiters().alive.erase(this);
}

SpinFacts SpinPolicy::facts() const {
  const auto ns = [this](uint64_t ticks) { return ticks * 1000 / ticks_per_us_; };
  return {.who = who_,
          .budget_ns = mode_ == SpinMode::kOff ? 0 : ns(budget_.get()),
          .wake_ns = ns(wake_ewma_.get()),
          .samples = samples_.get(),
          .found = found_.get(),
          .spent = spent_.get(),
          .not_tried = not_tried_.get()};
}

std::vector<SpinFacts> AllSpinFacts() {
  std::vector<SpinFacts> all;
  const std::lock_guard lock(AllWaiters().mu);
  for (const SpinPolicy* waiter : AllWaiters().alive) all.push_back(waiter->facts());
  return all;
}

// Else the woken one gets it when this spin is over, or by the scheduler's mercy. Where there is another processor for it, who
// leads the calls of several threads does better to go on.
void SpinPolicy::GiveWay() {
  if (!OneProcessorAllowed() || wait_began_ < no_way_until_) return;
  sched_yield();
  const uint64_t now = Ticks();
  if (now - wait_began_ > kLongWayUs * ticks_per_us_) no_way_until_ = now + kNoWayAfterUs * ticks_per_us_;
  wait_began_ = now;
}

SpinPolicy::Plan SpinPolicy::Choose(int peer_cpu) {
  if (mode_ == SpinMode::kOff) return Plan::kSleep;
  if (mode_ == SpinMode::kAlways) return Plan::kPause;
  if (wait_ewma_ > static_cast<int64_t>(2 * budget_.get()) && ++skipped_ < kRetryEvery) return Plan::kSleep;
  skipped_ = 0;
  // A thread bound to one processor may well have its peer on another.
  if (peer_cpu < 0 ? OneProcessorAllowed() : peer_cpu == CurrentCpu()) {
    return yielder_.allowed(wait_began_) ? Plan::kYield : Plan::kSleep;
  }
  return Plan::kPause;
}

void SpinPolicy::NoteSleep(uint64_t wake_latency_ticks) {
  NoteWait(Ticks() - wait_began_);
  // The latency comes from the peer's clock word: a liar moves the budget inside its bounds, no more.
  if (wake_latency_ticks != 0 && wake_latency_ticks < 1000 * ticks_per_us_) {
    const auto before = static_cast<int64_t>(wake_ewma_.get());
    wake_ewma_.set(static_cast<uint64_t>(before + (static_cast<int64_t>(wake_latency_ticks) - before) / 8));
    budget_.set(std::clamp(2 * wake_ewma_.get(), kMinBudgetUs * ticks_per_us_, kMaxBudgetUs * ticks_per_us_));
    samples_.Add1();
  }
}

}  // namespace ipcrpc
