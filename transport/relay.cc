#include "transport/relay.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/copy.h"
#include "transport/base/fd.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

constexpr int kFramesPerTurn = 64;
// For a peer that does not read its last frames.
constexpr int64_t kDrainNs = 5'000'000'000;
constexpr int64_t kForEver = kNoDeadline;

// One of the two links: gives to `other` what it gets.
class Side final : public FrameSink {
 public:
  Side(Link& link, Link& other) : link_(link), other_(other) {}
  void set_opposite(Side* opposite) { opposite_ = opposite; }

  Link& link() { return link_; }
  bool closed() const { return closed_; }
  bool blocked() const { return blocked_; }

  // True when something moved. While the other one has no room it is left alone, frames and all.
  bool Turn() {
    if (blocked_ || closed_) return false;
    const Link::Progress progress = link_.Poll(*this, kFramesPerTurn);
    link_.DropFds();  // which the frame that comes out of the other end cannot take along
    other_.Flush();
    closed_ = progress == Link::Progress::kClosed;
    return progress == Link::Progress::kFrames || closed_ || std::exchange(space_came_, false);
  }

  Verdict OnFrame(std::span<const std::byte> frame, bool) override {
    if (frame.size() > other_.max_frame_bytes()) return Verdict::kFault;
    std::byte* room = other_.Reserve(static_cast<uint32_t>(frame.size()), Link::Class::kData);
    if (room == nullptr) {
      blocked_ = true;
      return Verdict::kHold;
    }
    CopyBytes(room, frame.data(), frame.size());
    other_.Commit(static_cast<uint32_t>(frame.size()));
    return Verdict::kConsumed;
  }
  void OnSpace() override {
    opposite_->blocked_ = false;
    space_came_ = true;
  }

 private:
  Link& link_;
  Link& other_;
  Side* opposite_ = nullptr;
  bool blocked_ = false;     // a frame of its waits for room in the other
  bool space_came_ = false;  // for the opposite
  bool closed_ = false;
};

// Sleeps on both.
class Bed {
 public:
  explicit Bed(std::array<Side*, 2> sides) : sides_(sides), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (size_t i = 0; i < sides_.size(); ++i) Set(i, EPOLL_CTL_ADD, watched_[i]);
  }

  void Sleep(int64_t until_ns) {
    std::array<bool, 2> asleep = {};
    bool all = true;
    for (size_t i = 0; i < sides_.size() && all; ++i) {
      Link& link = sides_[i]->link();
      // A link that holds a frame is not to wake us by more of them, only by an end, once.
      uint32_t events = sides_[i]->blocked() ? uint32_t{EPOLLET} : uint32_t{EPOLLIN | EPOLLRDHUP};
      if (!sides_[i]->blocked()) all = asleep[i] = link.BeginSleep();
      if (link.wants_write()) events |= EPOLLOUT;
      if (std::exchange(watched_[i], events) != events) Set(i, EPOLL_CTL_MOD, events);
    }
    epoll_event events[2];
    const int timeout_ms =
        until_ns == kForEver ? -1 : static_cast<int>(std::max<int64_t>(0, (until_ns - MonotonicNs()) / 1'000'000 + 1));
    const int count = all ? epoll_wait(epoll_.get(), events, 2, timeout_ms) : 0;
    for (size_t i = 0; i < sides_.size(); ++i) {
      if (asleep[i]) sides_[i]->link().EndSleep();
    }
    for (int i = 0; i < count; ++i) sides_[events[i].data.u32]->link().OnEvent(events[i].events);
  }

 private:
  void Set(size_t i, int operation, uint32_t events) {
    epoll_event event = {.events = events, .data = {.u32 = static_cast<uint32_t>(i)}};
    epoll_ctl(epoll_.get(), operation, sides_[i]->link().event_fd(), &event);
  }

  const std::array<Side*, 2> sides_;
  const UniqueFd epoll_;
  std::array<uint32_t, 2> watched_ = {EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLRDHUP};
};

// What is already the link's to send.
void Drain(Side& side, Bed& bed) {
  const int64_t deadline = MonotonicNs() + kDrainNs;
  while (side.link().wants_write() && !side.closed() && MonotonicNs() < deadline) {
    if (!side.Turn()) bed.Sleep(deadline);
  }
}

}  // namespace

absl::Status Relay(Link& a, Link& b) {
  for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    // A frame of a call is not larger than what a stream takes, whatever else a link could carry.
    const uint32_t largest = std::min({from->max_frame_bytes(), a.capabilities().max_frame_bytes, b.capabilities().max_frame_bytes});
    if (to->max_frame_bytes() >= largest) continue;
    return absl::FailedPreconditionError(Cat("cannot relay from ", from->description(), " to ", to->description(), ": a frame may have ",
                                             largest, " bytes, and it takes ", to->max_frame_bytes()));
  }
  Side left(a, b), right(b, a);
  left.set_opposite(&right);
  right.set_opposite(&left);
  Bed bed({&left, &right});
  while (!left.closed() && !right.closed()) {
    const bool left_moved = left.Turn();
    const bool right_moved = right.Turn();
    if (!left_moved && !right_moved) bed.Sleep(kForEver);
  }
  Side& ended = left.closed() ? left : right;
  Side& other = left.closed() ? right : left;
  Drain(other, bed);
  const absl::Status why = ended.link().status();
  other.link().Close(why);
  return absl::IsUnavailable(why) ? absl::OkStatus() : why;
}

}  // namespace ipcrpc
