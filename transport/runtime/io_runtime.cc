#include "transport/runtime/io_runtime.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/base/fork_guard.h"
#include "transport/base/log.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

constexpr int64_t kTickNs = 2'000'000;
constexpr int kMaxPollers = 4;
// A program that exits while a handler waits for its client is not kept from it.
constexpr std::chrono::seconds kExitPatience{1};

int DefaultPollers() {
  cpu_set_t set;
  const int processors = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::clamp(processors / 2, 1, kMaxPollers);
}

// The calling thread, from now on.
void RunOn(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) {
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<size_t>(cpu), &set);
  }
  if (sched_setaffinity(0, sizeof(set), &set) == 0) return;
  Log(LogSeverity::kWarning, Cat("pollers run anywhere, as they cannot on the processors that were asked for: ", strerror(errno)));
}

// Never deleted: objects that die later may still refer to it. No lock here, which a fork could leave locked.
struct DefaultRuntime {
  std::shared_ptr<IoRuntime> runtime = std::make_shared<IoRuntime>();
  DefaultRuntime* older = nullptr;  // of the process that this one was forked from
};
// All of them, where leak checkers find them: they do not look into the page of ThisProcess().
std::atomic<DefaultRuntime*> newest_default{nullptr};

}  // namespace

const std::shared_ptr<IoRuntime>& IoRuntime::Default() {
  std::atomic<void*>& slot = ThisProcess().default_runtime;
  if (void* made = slot.load(std::memory_order_acquire)) return static_cast<DefaultRuntime*>(made)->runtime;
  static const int at_exit = atexit([] {
    // In a forked child it is the child's own, or none.
    if (void* made = ThisProcess().default_runtime.load()) static_cast<DefaultRuntime*>(made)->runtime->Stop(kExitPatience);
  });
  static_cast<void>(at_exit);
  auto fresh = std::make_unique<DefaultRuntime>();
  void* expected = nullptr;
  // Who comes second throws his away: nothing of it has started.
  if (slot.compare_exchange_strong(expected, fresh.get(), std::memory_order_acq_rel)) {
    expected = fresh.get();
    fresh->older = newest_default.exchange(fresh.get(), std::memory_order_relaxed);
    fresh.release();
  }
  return static_cast<DefaultRuntime*>(expected)->runtime;
}

IoRuntime::IoRuntime(IoRuntimeOptions options)
    : options_(options), housekeeper_([this] { Tick(); }, kTickNs),
      timers_([this](int fd, std::function<void()> react) {
        housekeeper_.Watch(fd, EPOLLIN, [react = std::move(react)](uint32_t) { react(); });
        if (options_.threads) StartHousekeeper();
      }),
      workers_(options.max_workers),
      fd_(epoll_create1(EPOLL_CLOEXEC)) {
  const int pollers = !options.threads ? 1 : options.pollers > 0 ? options.pollers : DefaultPollers();
  for (int i = 0; i < pollers; ++i) {
    auto lane = std::make_unique<Lane>();
    lane->runtime = this;
    lane->poller = std::make_unique<Poller>(
        [this] {
          if (options_.threads) housekeeper_.RequestTick();  // else there is no other thread to give the poller to
        },
        [this, raw = lane.get()](bool watched) {
          housekeeper_.Rewatch(raw->watch_id, watched ? uint32_t{EPOLLIN} | EPOLLET : 0u);
        });
    if (options_.threads) {
      lane->watch_id = housekeeper_.Watch(lane->poller->fd(), 0, [raw = lane.get()](uint32_t) { raw->poller->CheckEvents(); });
    }
    lanes_.push_back(std::move(lane));
  }
  if (!options_.threads) {
    epoll_event event = {.events = EPOLLIN, .data = {.u64 = 0}};
    epoll_ctl(fd_.get(), EPOLL_CTL_ADD, housekeeper_.fd(), &event);
    epoll_ctl(fd_.get(), EPOLL_CTL_ADD, lanes_[0]->poller->fd(), &event);
    RunOnce();
  }
}

IoRuntime::~IoRuntime() { Stop(); }

void IoRuntime::Attach(std::shared_ptr<PollTarget> target) {
  Lane* lane = std::min_element(lanes_.begin(), lanes_.end(), [](const auto& a, const auto& b) {
                 return a->poller->targets() < b->poller->targets();
               })->get();
  target->OnAttach(lane->poller.get());
  lane->poller->Attach(std::move(target));
  StartLane(lane);
}

Poller& IoRuntime::AnyPoller() {
  StartLane(lanes_[0].get());
  return *lanes_[0]->poller;
}

void IoRuntime::StartLane(Lane* lane) {
  if (!options_.threads) return;
  StartHousekeeper();
  std::lock_guard lock(mu_);
  if (!std::exchange(lane->started, true)) IPCRPC_CHECK(Drive(lane, /*stuck_in=*/0));
}

uint64_t IoRuntime::Listen(std::shared_ptr<Listener> listener, std::function<void(std::unique_ptr<Link>)> on_link,
                           std::function<void()> on_exhausted) {
  const int fd = listener->fd();
  const uint64_t id = housekeeper_.Watch(
      fd, EPOLLIN,
      [listener = std::move(listener), on_link = std::move(on_link), on_exhausted = std::move(on_exhausted)](uint32_t) mutable {
        listener->OnReadable(on_link);
        if (listener->exhausted() && on_exhausted) std::exchange(on_exhausted, {})();
      });
  if (options_.threads) StartHousekeeper();
  return id;
}

void IoRuntime::Unlisten(uint64_t id) { housekeeper_.Unwatch(id); }

uint64_t IoRuntime::Watch(int fd, std::function<void()> react) {
  const uint64_t id = housekeeper_.Watch(fd, EPOLLIN, [react = std::move(react)](uint32_t) { react(); });
  if (options_.threads) StartHousekeeper();
  return id;
}

void IoRuntime::Unwatch(uint64_t id) { housekeeper_.Unwatch(id); }

uint64_t IoRuntime::WatchHangup(Link& link, std::function<void()> on_hangup) {
  const Link::HangupSource source = link.hangup();
  // Edge-triggered: a hang-up stays, and a tick of a source that has to look for it comes again.
  const uint64_t id = housekeeper_.Watch(source.fd, source.events | EPOLLET,
                                         [&link, done = false, on_hangup = std::move(on_hangup)](uint32_t) mutable {
                                           if (done || !link.PeerHungUp()) return;
                                           done = true;
                                           on_hangup();
                                         });
  if (options_.threads) StartHousekeeper();
  return id;
}

void IoRuntime::ForgetHangup(uint64_t id) { housekeeper_.Unwatch(id); }

void IoRuntime::StartHousekeeper() {
  std::lock_guard lock(mu_);
  if (housekeeper_started_ || stopping_.load()) return;
  housekeeper_started_ = true;
  ++threads_;
  IPCRPC_CHECK(StartThread("ipcrpc-house", 0, &IoRuntime::HousekeeperMain, this));
}

void* IoRuntime::HousekeeperMain(void* argument) {
  auto* runtime = static_cast<IoRuntime*>(argument);
  runtime->housekeeper_.Run();
  runtime->ThreadGone();
  return nullptr;
}

struct IoRuntime::Driver {
  Lane* lane;
  uint64_t stuck_in;  // the task whose thread this one relieves; 0: none, it is the first
};

// REQUIRES: mu_.
bool IoRuntime::Drive(Lane* lane, uint64_t stuck_in) {
  if (stopping_.load()) return true;
  auto driver = std::make_unique<Driver>(Driver{lane, stuck_in});
  if (!StartThread("ipcrpc-poll", 0, &IoRuntime::LaneMain, driver.get())) return false;
  driver.release();
  ++threads_;
  return true;
}

void* IoRuntime::LaneMain(void* argument) {
  const Driver driver = *std::unique_ptr<Driver>(static_cast<Driver*>(argument));
  Poller& poller = *driver.lane->poller;
  IoRuntime* runtime = driver.lane->runtime;
  if (!runtime->options_.poller_cpus.empty()) RunOn(runtime->options_.poller_cpus);
  // Relieved or stopped, this thread is done.
  if (driver.stuck_in == 0 || poller.Steal(driver.stuck_in)) poller.Run();
  runtime->ThreadGone();
  return nullptr;
}

void IoRuntime::ThreadGone() {
  std::lock_guard lock(mu_);
  --threads_;
  gone_.notify_all();
}

// A poller that has run the same task since the last tick is stuck in it: another thread takes over.
void IoRuntime::Tick() {
  bool awake = false;
  for (const std::unique_ptr<Lane>& lane : lanes_) {
    const uint64_t task = lane->poller->task_sequence();
    if (lane->poller->asleep() && (task & 1) == 0 && task == lane->seen_task) continue;
    awake = true;
    if ((task & 1) != 0 && task == lane->seen_task) {
      std::lock_guard lock(mu_);
      Drive(lane.get(), task);  // without threads to be had, the next tick tries again
    }
    lane->seen_task = task;
  }
  if (awake) housekeeper_.RequestTick();
}

void IoRuntime::RunOnce() {
  housekeeper_.RunOnce(0);
  lanes_[0]->poller->RunOnce();
}

size_t IoRuntime::threads() const {
  std::lock_guard lock(mu_);
  return threads_ + workers_.threads();
}

void IoRuntime::Stop(std::chrono::seconds patience) {
  if (stopping_.exchange(true)) return;
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->poller->Stop();
  housekeeper_.Stop();
  std::unique_lock lock(mu_);
  gone_.wait_for(lock, patience, [this] { return threads_ == 0; });
  lock.unlock();
  workers_.Join(patience);
}

}  // namespace ipcrpc
