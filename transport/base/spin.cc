#include "transport/base/spin.h"

#include <sched.h>

#include <mutex>
#include <set>
#include <utility>

#include "transport/base/ticks.h"

namespace ipcrpc {
namespace {

constexpr uint64_t kMinBudgetUs = 5;
constexpr uint64_t kSeedWakeUs = 25;          // until a sleep has been measured
constexpr uint64_t kContendedYieldUs = 100;     // a yield that takes longer ran somebody else than the peer and our own ticks
constexpr uint64_t kMinYieldBackoffUs = 1'000;
constexpr uint64_t kMaxYieldBackoffUs = 1'000'000;
// Company are many, and do more than a peer's answer before they give the processor back.
constexpr uint64_t kContendedShareUs = 1000;
constexpr uint64_t kMinShareBackoffUs = 200;
constexpr uint32_t kRetryEvery = 64;

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

Yielder::Yielder(To to)
    : ticks_per_us_(TicksPerMicrosecond()),
      to_(to),
      contended_((to == To::kPeer ? kContendedYieldUs : kContendedShareUs) * ticks_per_us_),
      min_backoff_((to == To::kPeer ? kMinYieldBackoffUs : kMinShareBackoffUs) * ticks_per_us_) {}

bool Yielder::Once() {
  const uint64_t before = Ticks();
  sched_yield();
  return Note(before, Ticks());
}

bool Yielder::Note(uint64_t before, uint64_t after) {
  const bool forgiving = to_ == To::kCompany;
  if (after - before <= contended_) {
    if (forgiving) backoff_ = 0;
    return true;
  }
  // One stall may be the host's, or a task's that is done now. Another soon after a pause is somebody who stays.
  const bool again = forgiving ? backoff_ != 0 : before - not_until_ < backoff_;
  backoff_ = again ? std::min(2 * backoff_, kMaxYieldBackoffUs * ticks_per_us_)
                   : min_backoff_;
  not_until_ = after + backoff_;
  return false;
}

SpinPolicy::SpinPolicy(std::string who, SpinRule rule)
    : who_(std::move(who)), rule_(rule), ticks_per_us_(TicksPerMicrosecond()),
      budget_(std::min<uint64_t>(2 * kSeedWakeUs, rule.most_us) * ticks_per_us_),
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
          .budget_ns = rule_.mode == SpinMode::kOff ? 0 : ns(budget_.get()),
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

SpinPolicy::Plan SpinPolicy::Choose(int peer_cpu) {
  const bool served = std::exchange(served_company, false);
  if (rule_.mode == SpinMode::kOff) return Plan::kSleep;
  if (rule_.mode == SpinMode::kAlways) return Plan::kPause;
  if (wait_ewma_ > static_cast<int64_t>(2 * budget_.get()) && ++skipped_ < kRetryEvery) return Plan::kSleep;
  skipped_ = 0;
  if (served) return sharer_.allowed(wait_began_) ? Plan::kShare : Plan::kSleep;
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
    const uint64_t most = rule_.most_us * ticks_per_us_;
    budget_.set(std::clamp(2 * wake_ewma_.get(), std::min(kMinBudgetUs * ticks_per_us_, most), most));
    samples_.Add1();
  }
}

}  // namespace ipcrpc
