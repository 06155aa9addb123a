#include "transport/runtime/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/status_macros.h"
#include "transport/base/ticks.h"
#include "transport/base/wake_batch.h"

namespace ipcrpc {
namespace {

constexpr int kFramesPerTurn = 64;
constexpr int kEventsPerVisit = 64;
constexpr uint32_t kCoolEveryPasses = 256;
constexpr uint64_t kCoolAfterUs = 1000;
// How long a link that is cold may have to wait behind links that are never idle, and how long behind links that are: that
// doubles with each look in vain.
constexpr uint64_t kHarvestEveryUs = 250;
constexpr uint64_t kHarvestIdleAfterUs = 2;
constexpr size_t kPeersAskedForCpu = 8;
constexpr int kPassesPerRunOnce = 16;
constexpr uint32_t kIncoming = EPOLLIN | EPOLLRDHUP;

// Whose links this thread delivers the frames of at this moment. During a task it is none: there the poller may have
// been given to another thread.
thread_local Poller* delivering = nullptr;

}  // namespace

Poller::Poller(std::function<void()> active, std::function<void(bool)> watch)
    : active_(std::move(active)), watch_(std::move(watch)), epoll_(epoll_create1(EPOLL_CLOEXEC)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event = {.events = EPOLLIN, .data = {.ptr = nullptr}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event_.get(), &event);
}

Poller::~Poller() = default;

// ---- any thread ------------------------------------------------------------------------------

void Poller::Attach(std::shared_ptr<PollTarget> target) {
  target_count_.fetch_add(1, std::memory_order_relaxed);
  {
    std::lock_guard lock(mu_);
    attach_.push_back(std::move(target));
    commands_.store(true, std::memory_order_seq_cst);
  }
  Wakeup();
}

void Poller::Kick(PollTarget* target) {
  {
    std::lock_guard lock(mu_);
    kicked_.push_back(target);
    commands_.store(true, std::memory_order_seq_cst);
  }
  Wakeup();
}

void Poller::Post(PollerTask* task) {
  if (delivering == this) return Enqueue(task);
  task->next_ = posted_.load(std::memory_order_relaxed);
  while (!posted_.compare_exchange_weak(task->next_, task, std::memory_order_seq_cst, std::memory_order_relaxed)) {
  }
  Wakeup();
}

void Poller::Stop() {
  stop_.store(true, std::memory_order_seq_cst);
  Wakeup();
}

void Poller::CheckEvents() {
  check_events_.store(true, std::memory_order_seq_cst);
  if (sleep_.load(std::memory_order_seq_cst) == Sleep::kInLink) Wakeup();
}

bool Poller::Called() const {
  return commands_.load(std::memory_order_seq_cst) || posted_.load(std::memory_order_seq_cst) != nullptr;
}

// Whoever calls has left something before; the driver announces its sleep before it looks for one (both seq_cst), so
// one of the two sees the other.
void Poller::Wakeup() {
  switch (sleep_.load(std::memory_order_seq_cst)) {
    case Sleep::kAwake:
      return;
    case Sleep::kInEpoll: {
      const uint64_t one = 1;
      [[maybe_unused]] ssize_t ignored = write(event_.get(), &one, sizeof(one));
      return;
    }
    case Sleep::kInLink: {
      std::lock_guard lock(mu_);
      if (sleeping_in_ != nullptr) sleeping_in_->link().Kick();
      return;
    }
  }
}

bool Poller::Steal(uint64_t sequence) {
  return (sequence & 1) != 0 &&
         task_sequence_.compare_exchange_strong(sequence, sequence + 1, std::memory_order_acq_rel);
}

// ---- the driving thread ----------------------------------------------------------------------

void Poller::Enqueue(PollerTask* task) {
  task->next_ = nullptr;
  (tasks_head_ == nullptr ? tasks_head_ : tasks_tail_->next_) = task;
  tasks_tail_ = task;
}

void Poller::TakePosted() {
  PollerTask* last_first = posted_.exchange(nullptr, std::memory_order_acquire);
  PollerTask* in_order = nullptr;
  while (last_first != nullptr) {
    PollerTask* task = std::exchange(last_first, last_first->next_);
    task->next_ = in_order;
    in_order = task;
  }
  while (in_order != nullptr) Enqueue(std::exchange(in_order, in_order->next_));
}

bool Poller::RunTasks() {
  while (tasks_head_ != nullptr) {
    PollerTask* task = std::exchange(tasks_head_, tasks_head_->next_);
    const uint64_t sequence = task_sequence_.load(std::memory_order_relaxed) + 1;
    // Release: who steals the poller during the task sees all of its state.
    task_sequence_.store(sequence, std::memory_order_release);
    active_();
    task->Run();
    uint64_t expected = sequence;
    if (!task_sequence_.compare_exchange_strong(expected, sequence + 1, std::memory_order_acq_rel)) return false;
  }
  return true;
}

bool Poller::Run() {
  if (!RunTasks()) return false;  // left by the thread that this one relieves
  while (!stop_.load(std::memory_order_relaxed)) {
    bool busy = false;
    if (!Pass(&busy)) return false;
    const auto ready = [this] { return Glance() || stop_.load(std::memory_order_relaxed); };
    if (SleepsInLink()) {
      // Where a look costs a system call the next one is the link's own.
      const bool cheap = hot_[0]->target->link().cheap_to_poll();
      if (busy && cheap) continue;
      // A link that has just come may be gone as soon: it is worth a wait before the epoll is given to others to watch.
      const bool waited = cheap && !watched_ && MaySpin() && spin_.Spin(ready, [this] { return HotPeerCpu(); });
      if (!waited && SleepsInLink()) SleepInLink();  // another may have come meanwhile
      continue;
    }
    if (busy) continue;
    if (!MaySpin() || !spin_.Spin(ready, [this] { return HotPeerCpu(); })) SleepInEpoll();
  }
  return true;
}

void Poller::RunOnce() {
  sleep_.store(Sleep::kAwake, std::memory_order_seq_cst);
  Harvest(0);
  EndSleep();
  bool busy = true;
  for (int i = 0; busy && i < kPassesPerRunOnce; ++i) {
    busy = false;
    IPCRPC_CHECK(Pass(&busy));  // nobody steals where there is no housekeeping thread
  }
  const bool armed = BeginSleep();
  sleep_.store(Sleep::kInEpoll, std::memory_order_seq_cst);
  if (!armed || Called()) Wakeup();
}

void Poller::TakeNote() {
  if (commands_.load(std::memory_order_relaxed)) TakeCommands();
  if (check_events_.load(std::memory_order_relaxed) && check_events_.exchange(false)) {
    Harvest(0);
  } else if (entries_.size() > hot_.size() && !hot_.empty() && HarvestIsDue()) {
    Harvest(0);
  }
  if (posted_.load(std::memory_order_relaxed) != nullptr) TakePosted();
}

// A cold link's call is to wait for little longer than a hot one's, so whoever spins looks there, too; but a system call
// for each look would cost the hot ones more than it gives.
bool Poller::HarvestIsDue() {
  const uint64_t now = Ticks(), us = TicksPerMicrosecond();
  if (was_busy_) {
    idle_from_ticks_ = now;
    harvest_after_ticks_ = kHarvestIdleAfterUs * us;
  }
  if (now - last_harvest_ticks_ > kHarvestEveryUs * us) return true;
  if (now - std::max(idle_from_ticks_, last_harvest_ticks_) < harvest_after_ticks_) return false;
  harvest_after_ticks_ *= 2;
  return true;
}

bool Poller::Glance() {
  TakeNote();
  bool busy = tasks_head_ != nullptr;
  for (size_t i = 0; i < hot_.size() && tasks_head_ == nullptr; ++i) {
    if (hot_[i]->hot) busy |= PollEntry(*hot_[i], 1);
  }
  was_busy_ = busy;
  return busy;
}

bool Poller::Pass(bool* busy) {
  TakeNote();
  if (tasks_head_ != nullptr) {
    *busy = true;
    if (!RunTasks()) return false;
  }
  bool left = false;
  // After a pause the first frame is dealt with before the next is looked for, which costs a cache miss.
  const int frames = was_busy_ ? kFramesPerTurn : 1;
  for (size_t i = 0; i < hot_.size(); ++i) {
    Entry& entry = *hot_[i];  // stays there at least until the end of this loop
    if (entry.hot) *busy |= PollEntry(entry, frames);
    left |= !entry.hot;
    if (tasks_head_ != nullptr) {
      *busy = true;
      if (!RunTasks()) return false;
    }
  }
  if (left) std::erase_if(hot_, [](const EntryPtr& entry) { return !entry->hot; });
  if (++passes_ % kCoolEveryPasses == 0 && hot_.size() > 1) CoolIdle();
  was_busy_ = *busy;
  return true;
}

bool Poller::PollEntry(Entry& entry, int frames) {
  Link& link = entry.target->link();
  delivering = this;
  Link::Progress progress;
  {
    WakeBatch wakes;
    progress = link.Poll(*entry.target, frames);
  }
  if (progress == Link::Progress::kClosed) Remove(entry);
  delivering = nullptr;
  switch (progress) {
    case Link::Progress::kFrames:
      entry.last_busy_ticks = 0;
      return true;
    case Link::Progress::kClosed:
      return true;
    case Link::Progress::kIdle:
    case Link::Progress::kHeld:
      if (!link.cheap_to_poll() && !(entries_.size() == 1 && link.prefers_wait())) return !Cool(entry);
      return false;
  }
  return false;
}

void Poller::TakeCommands() {
  std::vector<std::shared_ptr<PollTarget>> attach;
  std::vector<PollTarget*> kicked;
  {
    std::lock_guard lock(mu_);
    commands_.store(false, std::memory_order_relaxed);
    attach.swap(attach_);
    kicked.swap(kicked_);
  }
  for (std::shared_ptr<PollTarget>& target : attach) {
    auto entry = std::make_shared<Entry>();
    entry->target = std::move(target);
    // Into the epoll it gets when it is first cold. But one that makes its descriptor when asked has it from now on.
    entry->target->link().event_fd();
    entries_.emplace(entry->target.get(), entry);
    entry->hot = true;
    hot_.push_back(std::move(entry));
  }
  for (PollTarget* target : kicked) {
    if (auto it = entries_.find(target); it != entries_.end()) Heat(it->second);
  }
}

void Poller::Heat(const EntryPtr& entry) {
  entry->last_busy_ticks = 0;
  if (entry->hot) return;
  entry->target->link().EndSleep();
  entry->hot = true;
  // It may still sit in hot_, having cooled in this very pass.
  if (std::find(hot_.begin(), hot_.end(), entry) == hot_.end()) hot_.push_back(entry);
}

bool Poller::Arm(Entry& entry) {
  Link& link = entry.target->link();
  // From the first time on: also one whose frames are held is seen to hang up.
  if (entry.watched_events == 0) Watch(entry, kIncoming);
  if (!link.BeginSleep()) return false;
  Watch(entry, kIncoming | (link.wants_write() ? uint32_t{EPOLLOUT} : 0u));
  return true;
}

bool Poller::Cool(Entry& entry) {
  if (!Arm(entry)) return false;
  entry.hot = false;
  return true;
}

void Poller::CoolIdle() {
  const uint64_t now = Ticks();
  for (const EntryPtr& entry : hot_) {
    if (!entry->hot) continue;
    // The first look since it was busy starts its time.
    if (entry->last_busy_ticks == 0) entry->last_busy_ticks = now;
    if (now - entry->last_busy_ticks >= kCoolAfterUs * TicksPerMicrosecond()) Cool(*entry);
  }
  std::erase_if(hot_, [](const EntryPtr& entry) { return !entry->hot; });
}

bool Poller::BeginSleep() {
  CoolIdle();
  for (armed_ = 0; armed_ < hot_.size(); ++armed_) {
    if (Arm(*hot_[armed_])) continue;
    EndSleep();
    return false;
  }
  return true;
}

void Poller::EndSleep() {
  while (armed_ > 0) hot_[--armed_]->target->link().EndSleep();
}

void Poller::Harvest(int timeout_ms) {
  epoll_event events[kEventsPerVisit];
  const int count = epoll_wait(epoll_.get(), events, kEventsPerVisit, timeout_ms);
  last_harvest_ticks_ = Ticks();
  for (int i = 0; i < count; ++i) {
    if (events[i].data.ptr == nullptr) {
      uint64_t value;
      [[maybe_unused]] ssize_t ignored = read(event_.get(), &value, sizeof(value));
      continue;
    }
    const auto it = entries_.find(static_cast<PollTarget*>(events[i].data.ptr));
    if (it == entries_.end()) continue;
    Heat(it->second);
    it->second->target->link().OnEvent(events[i].events);
  }
  // Some more than fit may be waiting.
  if (count == kEventsPerVisit) check_events_.store(true, std::memory_order_relaxed);
}

void Poller::SleepInEpoll() {
  if (!BeginSleep()) return;
  SetWatched(false);
  sleep_.store(Sleep::kInEpoll, std::memory_order_seq_cst);
  if (!Called() && !stop_.load(std::memory_order_seq_cst)) Harvest(-1);
  sleep_.store(Sleep::kAwake, std::memory_order_seq_cst);
  EndSleep();
  active_();
}

bool Poller::SleepsInLink() const {
  return entries_.size() == 1 && hot_.size() == 1 && hot_[0]->target->link().prefers_wait();
}

void Poller::SleepInLink() {
  PollTarget* target = hot_[0]->target.get();
  // What the link itself waits for must not wake those who watch fd() meanwhile.
  Watch(*hot_[0], target->link().cheap_to_poll() ? kIncoming : 0);
  SetWatched(true);
  if (sleeping_in_ != target) {
    std::lock_guard lock(mu_);
    sleeping_in_ = target;
  }
  sleep_.store(Sleep::kInLink, std::memory_order_seq_cst);
  bool slept = false;
  if (!Called() && !stop_.load(std::memory_order_seq_cst) &&
      !check_events_.load(std::memory_order_seq_cst)) {
    slept = target->link().Wait(kNoDeadline);
  }
  sleep_.store(Sleep::kAwake, std::memory_order_seq_cst);
  if (slept) active_();
}

void Poller::SetWatched(bool watched) {
  if (watched_ == watched) return;
  watched_ = watched;
  watch_(watched);
}

void Poller::Watch(Entry& entry, uint32_t events) {
  const uint32_t before = std::exchange(entry.watched_events, events);
  if (before == events) return;
  // What is not watched leaves: an entry costs each arrival a look at it, whatever it asks for.
  const int operation = before == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  epoll_event event = {.events = events, .data = {.ptr = entry.target.get()}};
  epoll_ctl(epoll_.get(), operation, entry.target->link().event_fd(), &event);
}

void Poller::Remove(Entry& entry) {
  const std::shared_ptr<PollTarget> target = entry.target;
  Watch(entry, 0);
  entry.hot = false;
  {
    std::lock_guard lock(mu_);
    if (sleeping_in_ == target.get()) sleeping_in_ = nullptr;
    std::erase(kicked_, target.get());
  }
  entries_.erase(target.get());  // the caller keeps the entry
  target_count_.fetch_sub(1, std::memory_order_relaxed);
  target->OnClosed();
}

bool Poller::MaySpin() const {
  return std::any_of(hot_.begin(), hot_.end(), [](const EntryPtr& entry) { return entry->target->link().may_spin(); });
}

int Poller::HotPeerCpu() const {
  const int own = CurrentCpu();
  int another = -1;
  // Of many, some: each costs a cache line of its peer's.
  for (size_t i = 0; i < std::min(hot_.size(), kPeersAskedForCpu); ++i) {
    const int cpu = hot_[(passes_ + i) % hot_.size()]->target->link().peer_cpu();
    if (cpu == own) return own;
    another = std::max(another, cpu);
  }
  return another;
}

}  // namespace ipcrpc
