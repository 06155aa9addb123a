#include "transport/base/bus_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <utility>

namespace ipcrpc {

// Used again, never freed: the handler walks the list at any time, on any thread.
struct GuardedRange {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};  // 0: nothing is guarded
  std::atomic<int> protection{0};
  std::atomic<bool> broken{false};
  GuardedRange* next = nullptr;  // constant
  bool used = false;             // guarded by State::mu
};

namespace {

struct State {
  std::mutex mu;
  int guards = 0;
  bool installed = false;
};
State& GetState() {
  static auto* const state = new State;
  return *state;
}

// What the handler sees. `previous` is written only while the handler is not installed.
std::atomic<GuardedRange*> ranges{nullptr};
struct sigaction previous;

// The guarded range that has `address`.
GuardedRange* Find(uintptr_t address) {
  for (GuardedRange* range = ranges.load(std::memory_order_acquire); range != nullptr; range = range->next) {
    const uintptr_t end = range->end.load(std::memory_order_acquire);
    const uintptr_t begin = range->begin.load(std::memory_order_acquire);
    // Looked at again: the range may have been given back and used anew in between.
    const bool steady = range->end.load(std::memory_order_acquire) == end;
    if (steady && address >= begin && address < end) return range;
  }
  return nullptr;
}

bool PutZeros(GuardedRange* range) {
  const uintptr_t begin = range->begin.load(std::memory_order_acquire);
  const size_t size = range->end.load(std::memory_order_acquire) - begin;
  range->broken.store(true, std::memory_order_release);
  // mmap() itself is not on the list of what a handler may call; the system call does nothing beside its
  // work.
  const long put = syscall(SYS_mmap, begin, size, range->protection.load(std::memory_order_relaxed),
                           MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  return put == static_cast<long>(begin);
}

// As if our handler were not there.
void PassOn(int signal_number, siginfo_t* info, void* context) {
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal_number, info, context);
    return;
  }
  const bool sent = info->si_code <= 0;  // by a process; else by a failed access
  if (previous.sa_handler == SIG_IGN && sent) return;
  if (previous.sa_handler != SIG_IGN && previous.sa_handler != SIG_DFL) {
    previous.sa_handler(signal_number);
    return;
  }
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(signal_number, &standard, nullptr);
  // A failed access fails again on return, and ends the process with its true cause.
  if (sent) raise(signal_number);
}

void HandleBus(int signal_number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  GuardedRange* range = nullptr;
  if (info->si_code > 0) range = Find(reinterpret_cast<uintptr_t>(info->si_addr));
  if (range == nullptr || !PutZeros(range)) PassOn(signal_number, info, context);
  errno = saved_errno;
}

enum class Handler { kStandard, kOurs, kAnother };
Handler Current() {
  struct sigaction current;
  sigaction(SIGBUS, nullptr, &current);
  if ((current.sa_flags & SA_SIGINFO) != 0)
    return current.sa_sigaction == HandleBus ? Handler::kOurs : Handler::kAnother;
  return current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN ? Handler::kStandard
                                                                        : Handler::kAnother;
}

void Install() {
  sigaction(SIGBUS, nullptr, &previous);
  struct sigaction ours = {};
  ours.sa_sigaction = HandleBus;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  ours.sa_mask = previous.sa_mask;
  sigaction(SIGBUS, &ours, nullptr);
}

}  // namespace

BusGuard::BusGuard(void* begin, size_t size, Access access) {
  State& state = GetState();
  const std::lock_guard lock(state.mu);
  for (range_ = ranges.load(std::memory_order_relaxed); range_ != nullptr && range_->used;)
    range_ = range_->next;
  if (range_ == nullptr) {
    range_ = new GuardedRange;
    range_->next = ranges.load(std::memory_order_relaxed);
    ranges.store(range_, std::memory_order_release);
  }
  range_->used = true;
  range_->broken.store(false, std::memory_order_relaxed);
  range_->protection.store(access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE,
                           std::memory_order_relaxed);
  range_->begin.store(reinterpret_cast<uintptr_t>(begin), std::memory_order_release);
  range_->end.store(reinterpret_cast<uintptr_t>(begin) + size, std::memory_order_release);
  ++state.guards;
  // A handler that came after ours is taken to pass on what is not its own, as ours does; a standard action
  // cannot.
  if (!state.installed || Current() == Handler::kStandard) Install();
  state.installed = true;
}

void BusGuard::Release() {
  if (range_ == nullptr) return;
  State& state = GetState();
  const std::lock_guard lock(state.mu);
  range_->end.store(0, std::memory_order_release);
  range_->used = false;
  range_ = nullptr;
  // Below a handler that came after it, ours has to stay.
  if (--state.guards == 0 && Current() == Handler::kOurs) {
    sigaction(SIGBUS, &previous, nullptr);
    state.installed = false;
  }
}

BusGuard::BusGuard(BusGuard&& other) noexcept : range_(std::exchange(other.range_, nullptr)) {}

BusGuard& BusGuard::operator=(BusGuard&& other) noexcept {
  if (this != &other) {
    Release();
    range_ = std::exchange(other.range_, nullptr);
  }
  return *this;
}

BusGuard::~BusGuard() { Release(); }

bool BusGuard::broken() const { return range_ != nullptr && range_->broken.load(std::memory_order_acquire); }

}  // namespace ipcrpc
