#include "services/child/berth.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

// The end of the stream is seen a moment before that of the process.
constexpr std::chrono::milliseconds kMoment{100};

}  // namespace

uint64_t Berth::Begin() {
  const std::lock_guard lock(mu_);
  starting_ = true;
  ended_ = false;
  return ++child_;
}

void Berth::Offer(std::unique_ptr<Link> link) {
  const std::lock_guard lock(mu_);
  starting_ = false;
  link_ = std::move(link);
  changed_.notify_all();
}

void Berth::End(const std::string& how) {
  std::unique_ptr<Link> unused;  // goes without the lock
  const std::lock_guard lock(mu_);
  starting_ = false;
  ended_ = true;
  how_ = how;
  unused = std::move(link_);
  changed_.notify_all();
}

void Berth::Close() {
  const std::lock_guard lock(mu_);
  closed_ = true;
  starting_ = false;
  changed_.notify_all();
}

absl::StatusOr<std::unique_ptr<Link>> Berth::Connect(int64_t deadline_ns) {
  std::unique_lock lock(mu_);
  const auto until = std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_ns));
  if (!changed_.wait_until(lock, until, [this] { return !starting_; })) {
    return absl::DeadlineExceededError("its program is still to start");
  }
  if (link_ != nullptr) return std::move(link_);
  if (closed_) return absl::FailedPreconditionError(Cat("its program ", how_));
  // The link was taken and is lost, and the supervisor has yet to see how.
  return absl::UnavailableError(ended_ ? Cat("its program ", how_) : "its program has just closed its connection");
}

std::string Berth::AwaitEnd(uint64_t child) {
  std::unique_lock lock(mu_);
  const bool known = changed_.wait_for(lock, kMoment, [this, child] { return child_ > child || ended_; });
  return known && child_ == child ? how_ : "";
}

}  // namespace ipcrpc
