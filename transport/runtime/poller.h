// A poller drives many links with one thread at a time: it delivers their frames and runs the tasks that come
// of them, and sleeps when there is nothing to do.
//
// A link is hot while it was busy lately: the poller looks at it in every pass, without a system call. Else it is cold:
// armed, and in the poller's epoll, where the peer's doorbell reaches it. When nothing comes the poller arms the hot ones,
// too, and sleeps there; with a single link, in that link's own wait if that is cheaper. When it wakes, what was hot is
// hot again: the peers of a server take turns, and the next one's call would come by a doorbell otherwise.
//
// The thread that drives is replaceable. Tasks (handlers) run at the top of the loop, with nothing of the poller
// on the stack; when one is stuck, the housekeeper gives the poller to a stand-by thread (Steal()), and the stuck one
// finds on its return that it no longer drives.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "transport/base/fd.h"
#include "transport/link.h"
#include "transport/base/spin.h"

namespace ipcrpc {

class Poller;

// A link and who gets what it brings. Owned by shared_ptr; the poller keeps it while attached.
class PollTarget : public FrameSink, public std::enable_shared_from_this<PollTarget> {
 public:
  virtual Link& link() = 0;
  // Before the first frame: the poller that will serve it.
  virtual void OnAttach(Poller* poller) = 0;
  // The link is closed and detached from the poller. By the driving thread.
  virtual void OnClosed() = 0;
};

// Something to run on the driving thread, outside of OnFrame(). It keeps itself, and the runtime, until it has run.
class PollerTask {
 public:
  virtual ~PollerTask() = default;
  virtual void Run() = 0;

 private:
  friend class Poller;
  PollerTask* next_ = nullptr;
};

class Poller {
 public:
  // `active` is called, by the driving thread, when the poller returns from a sleep and before each task; `watch` when it stops (true) and
  // starts again (false) to sleep on fd() itself: while true, somebody else must watch fd() and call CheckEvents().
  Poller(std::function<void()> active, std::function<void(bool)> watch);
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // ---- any thread
  void Attach(std::shared_ptr<PollTarget> target);
  // Makes the poller look at the target at once (it wants space, has closed, …).
  void Kick(PollTarget* target);
  // Runs the task soon, never inside of this call. It must not be waiting already.
  void Post(PollerTask* task);
  // Ends Run().
  void Stop();
  size_t targets() const { return target_count_.load(std::memory_order_relaxed); }

  // ---- the driving thread
  // Drives until Stop() (true) or until another thread has taken over (false).
  bool Run();
  // One pass without blocking, for those who have a loop of their own; everything is armed when it returns, so
  // that fd() tells when to call again.
  void RunOnce();
  int fd() const { return epoll_.get(); }
  // From FrameSink::OnFrame(): runs once the link's turn is over. Post() does this by itself where it can.
  void Enqueue(PollerTask* task);

  // ---- the housekeeper
  // A number that changes with every task and is odd while one runs.
  uint64_t task_sequence() const { return task_sequence_.load(std::memory_order_acquire); }
  // Takes the poller from the thread that runs the task `sequence`; true: the caller's thread must Run() it.
  bool Steal(uint64_t sequence);
  bool asleep() const { return sleep_.load(std::memory_order_seq_cst) != Sleep::kAwake; }
  bool asleep_in_epoll() const { return sleep_.load(std::memory_order_acquire) == Sleep::kInEpoll; }
  // Something is to be read from fd() while the poller does not look there.
  void CheckEvents();

 private:
  struct Entry {
    std::shared_ptr<PollTarget> target;
    bool hot = false;
    uint32_t watched_events = 0;   // in the epoll; 0: it is not there, as long as it has never been cold
    uint64_t last_busy_ticks = 0;  // 0: busy since the last look
  };
  using EntryPtr = std::shared_ptr<Entry>;

  bool Pass(bool* busy);        // false: no longer driving
  // As Pass(), but leaves the tasks that come of it to the next one: for where there is something of the poller on the
  // stack. True: there is something to do.
  bool Glance();
  void TakeNote();
  bool HarvestIsDue();
  bool RunTasks();              // false: no longer driving
  void TakePosted();
  bool PollEntry(Entry& entry, int frames);  // true: it was busy
  void TakeCommands();
  void Harvest(int timeout_ms);
  void Heat(const std::shared_ptr<Entry>& entry);
  bool Arm(Entry& entry);       // false: it has something to do
  bool Cool(Entry& entry);      // likewise
  void CoolIdle();              // those that were not busy for a while
  bool BeginSleep();            // all are armed; false: one has something to do, and none is
  void EndSleep();
  void SleepInEpoll();
  void SleepInLink();
  bool SleepsInLink() const;
  void Watch(Entry& entry, uint32_t events);
  void Remove(Entry& entry);
  // Something was left for the driver that wakes it.
  bool Called() const;
  void Wakeup();
  void SetWatched(bool watched);
  bool MaySpin() const;  // for one of the hot links at least
  int HotPeerCpu() const;  // our own, if one of the hot peers is here; else another's, -1 unknown

  const std::function<void()> active_;
  const std::function<void(bool)> watch_;
  const UniqueFd epoll_;
  const UniqueFd event_;  // Kick, Attach, Stop while asleep in epoll

  // driving thread
  std::unordered_map<PollTarget*, EntryPtr> entries_;
  std::vector<EntryPtr> hot_;
  PollerTask* tasks_head_ = nullptr;
  PollerTask* tasks_tail_ = nullptr;
  SpinPolicy spin_{"poller"};
  uint32_t passes_ = 0;
  bool was_busy_ = false;  // in the last pass
  uint64_t last_harvest_ticks_ = 0;
  uint64_t idle_from_ticks_ = 0;    // when the last pass that was busy ended; kept only while some links are cold
  uint64_t harvest_after_ticks_ = 0;  // that or the last harvest, while nothing comes
  size_t armed_ = 0;                  // of hot_, those in front
  bool watched_ = false;

  // any thread
  enum class Sleep : uint32_t { kAwake, kInEpoll, kInLink };
  std::atomic<Sleep> sleep_{Sleep::kAwake};
  std::atomic<bool> check_events_{false};
  std::atomic<bool> commands_{false};
  std::atomic<PollerTask*> posted_{nullptr};  // the last one first
  std::atomic<bool> stop_{false};
  std::atomic<size_t> target_count_{0};
  std::atomic<uint64_t> task_sequence_{0};
  std::mutex mu_;  // of what follows
  std::vector<std::shared_ptr<PollTarget>> attach_;
  std::vector<PollTarget*> kicked_;
  PollTarget* sleeping_in_ = nullptr;  // whose link the poller sleeps in
};

}  // namespace ipcrpc
