#include "transport/stream/stream_link.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

using stream::InBuffer;
using stream::OutBuffer;
using stream::StreamDescriptor;

// How long Wait() sleeps when nothing could tell it to stop: a held frame, or no eventfd to be had.
constexpr int64_t kShortSleepNs = 1'000'000;

}  // namespace

StreamLink::StreamLink(UniqueFd socket, Options options)
    : options_(std::move(options)), read_(std::move(socket), StreamDescriptor::Use::kBoth) {}

StreamLink::StreamLink(UniqueFd read, UniqueFd write, Options options)
    : options_(std::move(options)),
      read_(std::move(read), StreamDescriptor::Use::kRead),
      write_(std::move(write), StreamDescriptor::Use::kWrite),
      poll_set_(epoll_create1(EPOLL_CLOEXEC)) {
  epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data = {}};
  epoll_ctl(poll_set_.get(), EPOLL_CTL_ADD, read_.fd(), &event);
  event.events = 0;  // errors are reported whatever one asks for
  epoll_ctl(poll_set_.get(), EPOLL_CTL_ADD, write_.fd(), &event);
}

StreamLink::~StreamLink() { Close(absl::CancelledError("the link was closed")); }

// ---- send role ---------------------------------------------------------------------------------

std::byte* StreamLink::Reserve(uint32_t size, Class frame_class) {
  const size_t limit =
      OutBuffer::kBacklogBytes + (frame_class == Class::kControl ? OutBuffer::kControlReserveBytes : 0);
  std::byte* room;
  bool look = false;
  {
    const std::lock_guard lock(out_mu_);
    if (out_broken_ || closed_.load(std::memory_order_relaxed)) out_.Discard();
    room = out_.Reserve(size, limit);
    if (room == nullptr) {
      SendPending();
      look = want_write_.load(std::memory_order_relaxed);
      room = out_.Reserve(size, limit);
    }
    if (room == nullptr) {
      space_wanted_ = size;
      space_limit_ = limit;
    }
  }
  if (look) KickIfWaiting();
  return room;
}

void StreamLink::Commit(uint32_t size) {
  const std::lock_guard lock(out_mu_);
  out_.Commit(size);
}

void StreamLink::Flush() {
  bool look;
  {
    const std::lock_guard lock(out_mu_);
    // Full: the holder of the receive role sends the rest, and asking the kernel again would be in vain.
    if (want_write_.load(std::memory_order_relaxed)) return;
    SendPending();
    look = want_write_.load(std::memory_order_relaxed) || space_wanted_ != 0;
  }
  if (look) KickIfWaiting();
}

void StreamLink::SendPending() {
  while (!out_.pending().empty()) {
    if (out_broken_ || closed_.load(std::memory_order_relaxed)) {
      out_.Discard();
      break;
    }
    const std::span<const std::byte> pending = out_.pending();
    const ssize_t sent = out_stream().Write(pending.data(), pending.size());
    if (sent >= 0) {
      out_.Sent(static_cast<size_t>(sent));
      continue;
    }
    if (errno == EAGAIN) {
      SetWantWrite(true);
      return;
    }
    // The peer reads no more. What it sent before is still to be read, and Poll() finds the end behind that.
    out_broken_ = true;
    peer_gone_.store(true, std::memory_order_release);
  }
  SetWantWrite(false);
}

void StreamLink::SetWantWrite(bool want) {
  if (want_write_.load(std::memory_order_relaxed) == want) return;
  want_write_.store(want, std::memory_order_seq_cst);
  if (!poll_set_.valid()) return;
  epoll_event event = {.events = want ? static_cast<uint32_t>(EPOLLOUT) : 0u, .data = {}};
  epoll_ctl(poll_set_.get(), EPOLL_CTL_MOD, write_.fd(), &event);
}

bool StreamLink::wants_write() const { return want_write_.load(std::memory_order_acquire); }

// ---- receive role ------------------------------------------------------------------------------

StreamLink::Progress StreamLink::Poll(FrameSink& sink, int max_frames) {
  if (closed_.load(std::memory_order_acquire)) return Progress::kClosed;
  // Read before the stream is: what the peer sent before it went is delivered.
  const bool gone = peer_gone_.load(std::memory_order_acquire);
  if (want_write_.load(std::memory_order_relaxed)) {
    const std::lock_guard lock(out_mu_);
    SendPending();
  }
  int frames = 0;
  Progress progress = Deliver(sink, max_frames, &frames);
  if (progress == Progress::kIdle && frames == 0) {
    if (std::exchange(drained_, false) && !gone) {
      progress = Progress::kIdle;
    } else if (!ReadMore(gone)) {
      return Progress::kClosed;
    } else {
      progress = Deliver(sink, max_frames, &frames);
    }
  }
  if (progress == Progress::kClosed) return progress;
  if (SpaceDue()) {
    {
      const std::lock_guard lock(out_mu_);
      space_wanted_ = 0;
    }
    sink.OnSpace();
  }
  return frames > 0 ? Progress::kFrames : progress;
}

// Gives the sink what is buffered. kIdle: all of it, or `max_frames`.
StreamLink::Progress StreamLink::Deliver(FrameSink& sink, int max_frames, int* frames) {
  held_ = false;
  while (*frames < max_frames) {
    std::span<const std::byte> frame;
    const InBuffer::Next next = in_.Peek(&frame);
    if (next == InBuffer::Next::kPartial) break;
    if (next == InBuffer::Next::kFault) return Fault(in_.fault());
    switch (sink.OnFrame(frame, /*untrusted=*/false)) {
      case FrameSink::Verdict::kConsumed:
        in_.Consume();
        ++*frames;
        break;
      case FrameSink::Verdict::kHold:
        held_ = true;
        return Progress::kHeld;
      case FrameSink::Verdict::kFault:
        return Fault(absl::InternalError("the peer broke the protocol of calls"));
    }
    if (closed_.load(std::memory_order_relaxed)) return Progress::kClosed;
  }
  return Progress::kIdle;
}

bool StreamLink::ReadMore(bool gone) {
  const std::span<std::byte> room = in_.Room();
  const ssize_t got = read_.Read(room.data(), room.size());
  if (got > 0) {
    in_.Filled(static_cast<size_t>(got));
    drained_ = static_cast<size_t>(got) < room.size();
    return true;
  }
  if (got < 0 && errno == EAGAIN && !gone) return true;
  const std::string how =
      got == 0 || errno == EAGAIN || errno == ECONNRESET ? "" : Cat(" (", strerror(errno), ")");
  std::string what = options_.epitaph ? options_.epitaph() : "";
  if (what.empty()) what = Cat("the peer at ", options_.description, " is gone");
  Close(absl::UnavailableError(Cat(what, in_.DescribePartial(), how)));
  return false;
}

StreamLink::Progress StreamLink::Fault(absl::Status why) {
  Close(absl::Status(why.code(), Cat("link ", options_.description, " closed: ", MessageOf(why))));
  return Progress::kClosed;
}

bool StreamLink::SpaceDue() {
  const std::lock_guard lock(out_mu_);
  return space_wanted_ != 0 && (out_broken_ || out_.Fits(space_wanted_, space_limit_));
}

bool StreamLink::Wait(int64_t deadline_ns) {
  if (TakeKick() || closed_.load(std::memory_order_acquire) || (!held_ && in_.HasFrame())) return false;
  const bool reads_next = !held_ && !want_write_.load(std::memory_order_relaxed) &&
                          !peer_gone_.load(std::memory_order_acquire);
  if (reads_next && yielder_.YieldUntil([this] { return CameWhileYielding(); })) return false;
  if (!kick_fd_.valid()) kick_fd_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  // Announce, then look: whoever has something to say sets it first and then looks for the announcement.
  // (SpaceDue() does so under out_mu_, which those who make space hold before they look.)
  waiting_.store(true, std::memory_order_seq_cst);
  const bool sleep = !kicked_.load(std::memory_order_seq_cst) && !SpaceDue();
  if (sleep) SleepInPoll(deadline_ns);
  waiting_.store(false, std::memory_order_seq_cst);
  TakeKick();
  return sleep;
}

// What an error or the end means is for Poll() to find out, which reads again.
bool StreamLink::CameWhileYielding() {
  if (TakeKick() || closed_.load(std::memory_order_acquire)) return true;
  const std::span<std::byte> room = in_.Room();
  const ssize_t got = read_.Read(room.data(), room.size());
  if (got > 0) {
    in_.Filled(static_cast<size_t>(got));
    drained_ = static_cast<size_t>(got) < room.size();
    return true;
  }
  drained_ = false;
  return got == 0 || errno != EAGAIN;
}

void StreamLink::SleepInPoll(int64_t deadline_ns) {
  enum { kKick, kRead, kWrite };
  pollfd fds[3];
  fds[kKick] = {.fd = kick_fd_.get(), .events = POLLIN, .revents = 0};
  fds[kRead] = {.fd = held_ ? -1 : read_.fd(), .events = POLLIN, .revents = 0};
  fds[kWrite] = {.fd = write_.fd(), .events = 0, .revents = 0};
  if (want_write_.load(std::memory_order_seq_cst)) {
    if (one_socket()) fds[kWrite].fd = read_.fd();
    fds[kWrite].events = POLLOUT;
  }
  if (held_ && one_socket()) fds[kWrite].fd = -1;  // its hang-up would end every sleep
  if (held_ || !kick_fd_.valid()) deadline_ns = std::min(deadline_ns, MonotonicNs() + kShortSleepNs);
  timespec timeout;
  if (deadline_ns != kNoDeadline) timeout = ToTimespec(deadline_ns - MonotonicNs());
  const nfds_t count = fds[kWrite].fd < 0 ? 2 : 3;
  if (ppoll(fds, count, deadline_ns == kNoDeadline ? nullptr : &timeout, nullptr) <= 0) return;
  if (fds[kKick].revents != 0) {
    eventfd_t ignored;
    eventfd_read(kick_fd_.get(), &ignored);
  }
  if (fds[kRead].revents != 0) drained_ = false;
  if (!one_socket() && count == 3 && (fds[kWrite].revents & (POLLERR | POLLNVAL)) != 0) {
    peer_gone_.store(true, std::memory_order_release);
  }
}

bool StreamLink::BeginSleep() {
  if (TakeKick() || closed_.load(std::memory_order_acquire) || peer_gone_.load(std::memory_order_acquire))
    return false;
  if (held_ || in_.HasFrame() || SpaceDue()) return false;
  in_.Trim();
  const std::lock_guard lock(out_mu_);
  out_.Trim();
  return true;
}

void StreamLink::OnEvent(uint32_t epoll_events) {
  if (poll_set_.valid()) {
    // Two descriptors behind one: which of them it was decides.
    epoll_event events[2];
    const int count = epoll_wait(poll_set_.get(), events, 2, 0);
    epoll_events = 0;
    for (int i = 0; i < count; ++i) epoll_events |= events[i].events;
    if ((epoll_events & EPOLLERR) != 0) peer_gone_.store(true, std::memory_order_release);
  }
  if ((epoll_events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) drained_ = false;
}

// ---- any thread --------------------------------------------------------------------------------

void StreamLink::Kick() {
  kicked_.store(true, std::memory_order_seq_cst);
  if (waiting_.load(std::memory_order_seq_cst) && kick_fd_.valid()) eventfd_write(kick_fd_.get(), 1);
}

void StreamLink::KickIfWaiting() {
  if (waiting_.load(std::memory_order_seq_cst)) Kick();
}

void StreamLink::NotePeerGone() {
  peer_gone_.store(true, std::memory_order_release);
  Kick();
}

void StreamLink::Close(absl::Status why) {
  if (!fork_guard_.ours()) return;  // it is the parent's
  {
    const std::lock_guard lock(why_mu_);
    if (why_code_ != absl::StatusCode::kOk) return;
    why_code_ = why.ok() ? absl::StatusCode::kCancelled : why.code();
    why_message_ = std::string(MessageOf(why));
  }
  {
    const std::lock_guard lock(out_mu_);
    SendPending();
    closed_.store(true, std::memory_order_seq_cst);
    read_.Hangup();
    write_.Hangup();
  }
  Kick();
}

absl::Status StreamLink::status() const {
  const std::lock_guard lock(why_mu_);
  return absl::Status(why_code_, why_message_);
}

}  // namespace ipcrpc
