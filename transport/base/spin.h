// Whether and how long to spin before sleeping, learnt from what waiting and waking really cost here.
//
// Spinning saves time and processor while the peer answers within the cost of a wake (3-7 µs on bare metal,
// 40-60 µs on a virtual machine whose idle processor halts), and it only hurts when the peer needs this very
// processor. So: spin for at most twice a wake's measured latency; not at all while the peer usually takes
// longer than that; and where the peer last ran on our processor, give it away instead of spinning.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "transport/base/atomics.h"

namespace ipcrpc {

enum class SpinMode { kAuto, kAlways, kOff };

// Whether to spin, and for how long at the most before each sleep.
struct SpinRule {
  static constexpr uint32_t kMostUs = 100;

  SpinMode mode = SpinMode::kAuto;
  uint32_t most_us = kMostUs;
};

// Whether this process may run on one processor only, as it was at the first call.
bool OneProcessorAllowed();

// How many threads of this process wait for another of it, and need a processor for that (company.h).
inline std::atomic<uint32_t> company{0};
// The calling thread has brought one of them what it waits for: that one may need this very processor.
inline thread_local bool served_company = false;

// Giving the processor away, which lets whom one waits for, and who needs this very one, answer sooner than a sleep and a wake
// would. Thread-compatible.
class Yielder {
 public:
  enum class To { kPeer, kCompany };
  explicit Yielder(To to = To::kPeer);

  // Not where somebody else wanted the processor lately.
  bool allowed(uint64_t now_ticks) const { return now_ticks >= not_until_; }
  // False: somebody else than the peer wants this processor; sleep.
  bool Once();
  // The same of a yield that was made, which took from `before` to `after` (ticks): after a long one none is allowed for 1 ms.
  // While long ones follow soon after such a pause, each pause is twice as long as the last, up to 1 s. So who keeps the processor
  // seldom costs a time slice, and who had it for a moment costs hardly more than that moment. To company 0.2 ms at first, and
  // twice as long only if no short one came between: of several threads one may well have something to do.
  bool Note(uint64_t before, uint64_t after);

  // For those to whom each look costs a system call: gives the processor away a few times, as long as that paid
  // lately, and looks after each. True when `ready()` was. Not where there is another processor for the peer.
  template <typename Ready>
  bool YieldUntil(Ready&& ready);

 private:
  static constexpr int kTries = 24;
  static constexpr uint32_t kMissesInARow = 8;  // then it does not pay
  static constexpr uint32_t kRetryEvery = 64;

  const uint64_t ticks_per_us_;
  const To to_;
  const uint64_t contended_;  // a yield that takes longer ran somebody else; ticks, as the next three
  const uint64_t min_backoff_;
  uint64_t not_until_ = 0;
  uint64_t backoff_ = 0;  // how long the last pause was
  uint32_t misses_ = 0;   // in a row
  uint32_t skipped_ = 0;  // since the last try
};

// What one who waits has learnt, and how its waits ended so far.
struct SpinFacts {
  std::string who;
  uint64_t budget_ns;   // in force
  uint64_t wake_ns;     // what a wake takes, as measured lately; a guess while there are no samples
  uint64_t samples;     // wakes that were measured
  uint64_t found;       // waits that ended while it spun
  uint64_t spent;       // waits that spent the budget in vain, and went to sleep
  uint64_t not_tried;   // waits that went to sleep at once, as spinning does not pay or another needs the processor
};
// Of all who live in this process. Any thread.
std::vector<SpinFacts> AllSpinFacts();

// Thread-compatible: belongs to the holder of a receive role.
class SpinPolicy {
 public:
  // `who` waits, as AllSpinFacts() calls it.
  explicit SpinPolicy(std::string who, SpinRule rule = {});
  ~SpinPolicy();
  SpinPolicy(const SpinPolicy&) = delete;
  SpinPolicy& operator=(const SpinPolicy&) = delete;

  // Spins until `ready()` is true (returns true) or the budget is spent (false: sleep now). `peer_cpu()` is where the
  // peer polled last, -1 unknown.
  template <typename Ready, typename PeerCpu>
  bool Spin(Ready&& ready, PeerCpu&& peer_cpu);

  // After a sleep: how long the whole wait was, counted from the start of Spin(), and how long the wake took
  // (ticks; 0 unknown).
  void NoteSleep(uint64_t wake_latency_ticks);

  // Any thread.
  SpinMode mode() const { return rule_.mode; }
  SpinFacts facts() const;

 private:
  // Written by the waiter alone.
  class Number {
   public:
    explicit Number(uint64_t value = 0) : value_(value) {}
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }
    void set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
    void Add1() { set(get() + 1); }

   private:
    std::atomic<uint64_t> value_;
  };
  static constexpr uint64_t kAloneUs = 3;  // without a thought of company: a peer that is awake answers within
  enum class Plan { kSleep, kPause, kYield, kShare };
  Plan Choose(int peer_cpu);
  // One wait counts for no more than four budgets: a single long one, when a processor was lost for a while or a client
  // had nothing to ask, is no reason to give up on spinning.
  void NoteWait(uint64_t ticks) {
    wait_ewma_ += (static_cast<int64_t>(std::min(ticks, 4 * budget_.get())) - wait_ewma_) / 8;
  }
  void NoteFound(uint64_t ticks) {
    NoteWait(ticks);
    found_.Add1();
  }

  const std::string who_;
  const SpinRule rule_;
  const uint64_t ticks_per_us_;
  Number budget_;            // ticks
  Number wake_ewma_;         // ticks a wake takes
  int64_t wait_ewma_ = 0;    // ticks until something came
  uint64_t wait_began_ = 0;
  uint32_t skipped_ = 0;     // waits without a spin since the last one with
  Yielder yielder_;
  Yielder sharer_{Yielder::To::kCompany};
  Number samples_, found_, spent_, not_tried_;
};

// Where the calling thread runs; 5 ns.
int CurrentCpu();

template <typename Ready>
bool Yielder::YieldUntil(Ready&& ready) {
  if (!OneProcessorAllowed() || (not_until_ != 0 && !allowed(Ticks()))) return false;
  if (misses_ >= kMissesInARow && ++skipped_ < kRetryEvery) return false;
  skipped_ = 0;
  bool alone = true;
  for (int i = 0; i < kTries && alone; ++i) {
    alone = Once();
    if (ready()) {
      misses_ = 0;
      return true;
    }
  }
  ++misses_;
  return false;
}

template <typename Ready, typename PeerCpu>
bool SpinPolicy::Spin(Ready&& ready, PeerCpu&& peer_cpu) {
  wait_began_ = Ticks();
  const Plan plan = Choose(peer_cpu());
  if (plan == Plan::kSleep) {
    not_tried_.Add1();
    return ready();
  }
  const uint64_t budget = budget_.get(), alone = kAloneUs * ticks_per_us_;
  for (uint64_t now = wait_began_; now - wait_began_ < budget; now = Ticks()) {
    const bool share = plan == Plan::kShare || (plan == Plan::kPause && now - wait_began_ > alone &&
                                                company.load(std::memory_order_relaxed) != 0);
    if (plan == Plan::kPause && !share) {
      for (int i = 0; i < 8; ++i) {
        if (ready()) {
          NoteFound(now - wait_began_);  // near enough, and no clock read between the peer's word and ours
          return true;
        }
        CpuRelax();
      }
    } else {
      if (ready()) {
        NoteFound(now - wait_began_);
        return true;
      }
      if (!(share ? sharer_ : yielder_).Once()) break;
    }
  }
  spent_.Add1();
  return ready();
}

}  // namespace ipcrpc
