#include "transport/runtime/io_runtime.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "transport/base/status_macros.h"

namespace ipcrpc {
namespace {

constexpr int64_t kTickNs = 2'000'000;
constexpr int kMaxPollers = 4;

int DefaultPollers() {
  cpu_set_t set;
  const int processors = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::clamp(processors / 2, 1, kMaxPollers);
}

// A page that the kernel wipes in a forked child: there the threads of the default runtime do not exist.
struct ProcessPage {
  std::shared_ptr<IoRuntime>* runtime;
};
ProcessPage* ThePage() {
  static auto* const page = [] {
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IPCRPC_CHECK(memory != MAP_FAILED);
    madvise(memory, 4096, MADV_WIPEONFORK);
    return static_cast<ProcessPage*>(memory);
  }();
  return page;
}
std::mutex default_mu;

}  // namespace

const std::shared_ptr<IoRuntime>& IoRuntime::Default() {
  ProcessPage* const page = ThePage();
  std::lock_guard lock(default_mu);
  if (page->runtime == nullptr) {
    static bool at_exit = false;
    if (!std::exchange(at_exit, true)) {
      atexit([] {
        // Never deleted: objects that die later may still refer to it.
        if (ThePage()->runtime != nullptr) (*ThePage()->runtime)->Stop();
      });
    }
    page->runtime = new std::shared_ptr<IoRuntime>(std::make_shared<IoRuntime>());
  }
  return *page->runtime;
}

IoRuntime::IoRuntime(IoRuntimeOptions options)
    : options_(options), housekeeper_([this] { Tick(); }, kTickNs), workers_(options.max_workers),
      fd_(epoll_create1(EPOLL_CLOEXEC)) {
  const int pollers = !options.threads ? 1 : options.pollers > 0 ? options.pollers : DefaultPollers();
  for (int i = 0; i < pollers; ++i) {
    auto lane = std::make_unique<Lane>();
    lane->runtime = this;
    lane->poller = std::make_unique<Poller>(
        [this] { housekeeper_.RequestTick(); },
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
  if (options_.threads) {
    StartHousekeeper();
    std::lock_guard lock(mu_);
    if (!std::exchange(lane->started, true)) Drive(lane);
  }
}

uint64_t IoRuntime::Listen(std::shared_ptr<Listener> listener, std::function<void(std::unique_ptr<Link>)> on_link) {
  const int fd = listener->fd();
  const uint64_t id = housekeeper_.Watch(
      fd, EPOLLIN, [listener = std::move(listener), on_link = std::move(on_link)](uint32_t) { listener->OnReadable(on_link); });
  if (options_.threads) StartHousekeeper();
  return id;
}

void IoRuntime::Unlisten(uint64_t id) { housekeeper_.Unwatch(id); }

uint64_t IoRuntime::WatchHangup(const Link& link, std::function<void()> on_hangup) {
  const uint64_t id = housekeeper_.Watch(link.event_fd(), uint32_t{EPOLLRDHUP} | EPOLLONESHOT,
                                         [on_hangup = std::move(on_hangup)](uint32_t) { on_hangup(); });
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

// REQUIRES: mu_.
void IoRuntime::Drive(Lane* lane) {
  if (stopping_.load()) return;
  ++threads_;
  IPCRPC_CHECK(StartThread("ipcrpc-poll", 0, &IoRuntime::LaneMain, lane));
}

void* IoRuntime::LaneMain(void* argument) {
  auto* lane = static_cast<Lane*>(argument);
  IoRuntime* runtime = lane->runtime;
  lane->poller->Run();  // relieved or stopped, this thread is done
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
    if ((task & 1) != 0 && task == lane->seen_task && lane->poller->Steal(task)) {
      std::lock_guard lock(mu_);
      Drive(lane.get());
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

void IoRuntime::Stop() {
  if (stopping_.exchange(true)) return;
  for (const std::unique_ptr<Lane>& lane : lanes_) lane->poller->Stop();
  housekeeper_.Stop();
  std::unique_lock lock(mu_);
  gone_.wait(lock, [this] { return threads_ == 0; });
  lock.unlock();
  workers_.Join();
}

}  // namespace ipcrpc
