#include "transport/runtime/housekeeper.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <utility>

#include "transport/base/clock.h"

namespace ipcrpc {
namespace {

constexpr uint64_t kTimerId = 1;
constexpr uint64_t kEventId = 2;
constexpr int kEventsPerVisit = 64;

void Add(int epoll, int op, int fd, uint32_t events, uint64_t id) {
  epoll_event event = {.events = events, .data = {.u64 = id}};
  epoll_ctl(epoll, op, fd, &event);
}

}  // namespace

Housekeeper::Housekeeper(std::function<void()> on_tick, int64_t tick_ns)
    : on_tick_(std::move(on_tick)), tick_ns_(tick_ns), epoll_(epoll_create1(EPOLL_CLOEXEC)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  Add(epoll_.get(), EPOLL_CTL_ADD, timer_.get(), EPOLLIN, kTimerId);
  Add(epoll_.get(), EPOLL_CTL_ADD, event_.get(), EPOLLIN, kEventId);
}

Housekeeper::~Housekeeper() = default;

uint64_t Housekeeper::Watch(int fd, uint32_t events, std::function<void(uint32_t)> react) {
  auto reaction = std::make_shared<Reaction>();
  reaction->fd = fd;
  reaction->react = std::move(react);
  std::lock_guard lock(mu_);
  const uint64_t id = next_id_++;
  reactions_.emplace(id, std::move(reaction));
  Add(epoll_.get(), EPOLL_CTL_ADD, fd, events, id);
  return id;
}

void Housekeeper::Rewatch(uint64_t id, uint32_t events) {
  std::lock_guard lock(mu_);
  if (auto it = reactions_.find(id); it != reactions_.end()) Add(epoll_.get(), EPOLL_CTL_MOD, it->second->fd, events, id);
}

void Housekeeper::Unwatch(uint64_t id) {
  std::shared_ptr<Reaction> reaction;
  {
    std::lock_guard lock(mu_);
    auto it = reactions_.find(id);
    if (it == reactions_.end()) return;
    reaction = std::move(it->second);
    reactions_.erase(it);
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, reaction->fd, nullptr);
  }
  std::function<void(uint32_t)> dropped;  // with what it holds, before the caller goes on
  std::lock_guard running(reaction->mu);
  reaction->dead = true;
  if (!reaction->running) dropped.swap(reaction->react);
}

void Housekeeper::RequestTick() {
  // Sequentially consistent, and so is what on_tick looks at: either it sees the caller at work, or the caller sees
  // that no tick is due any more.
  if (tick_due_.load(std::memory_order_seq_cst) || tick_due_.exchange(true, std::memory_order_seq_cst)) return;
  itimerspec when = {};
  when.it_value = ToTimespec(tick_ns_);
  timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void Housekeeper::Run() {
  while (!stop_.load(std::memory_order_acquire)) RunOnce(-1);
}

void Housekeeper::Stop() {
  stop_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  [[maybe_unused]] ssize_t ignored = write(event_.get(), &one, sizeof(one));
}

void Housekeeper::RunOnce(int timeout_ms) {
  epoll_event events[kEventsPerVisit];
  const int count = epoll_wait(epoll_.get(), events, kEventsPerVisit, timeout_ms);
  for (int i = 0; i < count && !stop_.load(std::memory_order_acquire); ++i) {
    const uint64_t id = events[i].data.u64;  // in a packed structure, to which no reference may be bound
    if (id == kEventId) continue;  // Stop() is for good
    if (id == kTimerId) {
      uint64_t expirations;
      if (read(timer_.get(), &expirations, sizeof(expirations)) != sizeof(expirations)) continue;
      tick_due_.store(false, std::memory_order_seq_cst);
      on_tick_();
      continue;
    }
    std::shared_ptr<Reaction> reaction;
    {
      std::lock_guard lock(mu_);
      if (auto it = reactions_.find(id); it != reactions_.end()) reaction = it->second;
    }
    if (reaction == nullptr) continue;
    std::lock_guard running(reaction->mu);
    if (reaction->dead) continue;
    reaction->running = true;
    reaction->react(events[i].events);
    reaction->running = false;
  }
}

}  // namespace ipcrpc
