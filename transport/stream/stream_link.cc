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
#include "transport/stream/descriptor.h"

namespace ipcrpc {
namespace {

using stream::DescriptorMedium;
using stream::InBuffer;
using stream::OutBuffer;
using stream::StreamDescriptor;

// In a poll set: which descriptor it was.
enum : uint64_t { kInput, kOutput, kDeath };
constexpr uint32_t kIncoming = EPOLLIN | EPOLLRDHUP;

// How long Wait() sleeps when nothing could tell it to stop: a held frame, or no eventfd to be had.
constexpr int64_t kShortSleepNs = 1'000'000;

}  // namespace

StreamLink::StreamLink(UniqueFd socket, Options options)
    : StreamLink(std::make_unique<DescriptorMedium>(std::move(socket)), std::move(options)) {}

StreamLink::StreamLink(UniqueFd read, UniqueFd write, Options options)
    : StreamLink(std::make_unique<DescriptorMedium>(StreamDescriptor(std::move(read), StreamDescriptor::Use::kRead),
                                                    StreamDescriptor(std::move(write), StreamDescriptor::Use::kWrite)),
                 std::move(options)) {}

StreamLink::StreamLink(std::unique_ptr<stream::Medium> medium, Options options)
    : options_(std::move(options)), medium_(std::move(medium)) {}

StreamLink::~StreamLink() { Close(absl::CancelledError("the link was closed")); }

// ---- send role ---------------------------------------------------------------------------------

std::byte* StreamLink::Reserve(uint32_t size, Class frame_class) {
  const size_t limit =
      OutBuffer::kBacklogBytes + (frame_class == Class::kControl ? OutBuffer::kControlReserveBytes : 0);
  std::byte* room;
  bool look = false;
  {
    const std::lock_guard lock(out_mu_);
    TakeCommitted();
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
      space_asked_.store(true, std::memory_order_seq_cst);
    }
  }
  if (look) KickIfWaiting();
  return room;
}

void StreamLink::Commit(uint32_t size) { committed_ = size; }

void StreamLink::TakeCommitted() {
  if (committed_ != 0) out_.Commit(std::exchange(committed_, 0));
}

// The descriptors go with the first bytes of the frame, now, when all before it has gone: then what the kernel thinks of them
// is known before the frame says that they come.
Link::FdSending StreamLink::SendFds(uint32_t, std::span<const UniqueFd> fds) {
  bool look;
  {
    const std::lock_guard lock(out_mu_);
    SendPending();
    if (out_broken_ || closed_.load(std::memory_order_relaxed)) return FdSending::kSent;  // goes nowhere, as the frame does
    const std::span<const std::byte> lead = out_.Lead();
    bool full = !out_.pending().empty();
    if (!full) {
      const ssize_t sent = medium_->WriteWithFds(lead.data(), lead.size(), fds);
      full = sent < 0 && errno == EAGAIN;
      if (sent == static_cast<ssize_t>(lead.size())) {
        out_.LeadSent();
        lead_waits_ = false;
        return FdSending::kSent;
      }
      if (!full && errno != EPIPE && errno != ECONNRESET) return FdSending::kRefused;
      if (!full) {
        out_broken_ = true;
        peer_gone_.store(true, std::memory_order_release);
        return FdSending::kSent;
      }
      lead_waits_ = true;
      SetWantWrite(true);
    }
    // There is space when nothing waits.
    space_wanted_ = 1;
    space_limit_ = stream::WireBytes(1);
    space_asked_.store(true, std::memory_order_seq_cst);
    look = want_write_.load(std::memory_order_relaxed);
  }
  if (look) KickIfWaiting();
  return FdSending::kNoSpace;
}

void StreamLink::Flush() {
  bool look;
  {
    const std::lock_guard lock(out_mu_);
    TakeCommitted();
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
    const ssize_t sent = medium_->Write(pending.data(), pending.size());
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
  SetWantWrite(StillFull());
}

// What waits then is no byte of ours, so nothing but the kernel can tell.
bool StreamLink::StillFull() {
  if (!lead_waits_) [[likely]] return false;
  pollfd ask = {.fd = one_socket() ? medium_->read_fd() : medium_->write_fd(), .events = POLLOUT, .revents = 0};
  lead_waits_ = !out_broken_ && poll(&ask, 1, 0) == 0;
  return lead_waits_;
}

void StreamLink::SetWantWrite(bool want) {
  if (want_write_.load(std::memory_order_relaxed) == want) return;
  want_write_.store(want, std::memory_order_seq_cst);
  if (!poll_set_.valid()) return;
  const int operation = output_tells_death() ? EPOLL_CTL_MOD : want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
  Watch(operation, medium_->write_fd(), kOutput, want ? EPOLLOUT : 0u);
}

void StreamLink::Watch(int operation, int fd, uint64_t which, uint32_t events) const {
  epoll_event event = {.events = events, .data = {.u64 = which}};
  epoll_ctl(poll_set_.get(), operation, fd, &event);
}

int StreamLink::event_fd() const {
  if (one_socket()) return medium_->read_fd();
  const std::lock_guard lock(out_mu_);
  if (!poll_set_.valid()) {
    poll_set_.reset(epoll_create1(EPOLL_CLOEXEC));
    Watch(EPOLL_CTL_ADD, medium_->read_fd(), kInput, kIncoming);
    // Errors are reported whatever one asks for.
    const bool wants = want_write_.load(std::memory_order_relaxed);
    if (wants || output_tells_death()) Watch(EPOLL_CTL_ADD, medium_->write_fd(), kOutput, wants ? EPOLLOUT : 0u);
    if (medium_->death_fd() >= 0) Watch(EPOLL_CTL_ADD, medium_->death_fd(), kDeath, EPOLLIN);
  }
  return poll_set_.get();
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
    } else {
      // Of a peer that is gone to the end at once: where its going was told apart from the stream, nothing tells again
      // once the last piece has been read.
      do {
        if (!ReadMore(gone)) return Progress::kClosed;
        progress = Deliver(sink, max_frames, &frames);
      } while (gone && progress == Progress::kIdle && frames == 0);
    }
  }
  if (progress == Progress::kClosed) return progress;
  if (SpaceDue()) {
    {
      const std::lock_guard lock(out_mu_);
      space_wanted_ = 0;
      space_asked_.store(false, std::memory_order_seq_cst);
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
  if (gone) medium_->Disarm();
  const std::span<std::byte> room = in_.Room();
  const ssize_t got = medium_->Read(room.data(), room.size());
  if (got > 0) {
    in_.Filled(static_cast<size_t>(got));
    drained_ = medium_->Drained(static_cast<size_t>(got), room.size());
    return true;
  }
  if (got < 0 && errno == EAGAIN && !gone) return true;
  if (got < 0 && errno == EPROTO) {
    Fault(absl::InternalError("the peer sent descriptors that no frame announces"));
    return false;
  }
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

absl::StatusOr<std::vector<UniqueFd>> StreamLink::TakeFds(uint32_t parcel, size_t count) {
  FdQueue* const arrived = medium_->arrived_fds();
  return arrived == nullptr ? Link::TakeFds(parcel, count) : arrived->Take(parcel, count);
}

void StreamLink::DropFds() {
  if (FdQueue* const arrived = medium_->arrived_fds(); arrived != nullptr) arrived->Clear();
}

bool StreamLink::SpaceDue() {
  if (!space_asked_.load(std::memory_order_seq_cst)) return false;
  const std::lock_guard lock(out_mu_);
  return space_wanted_ != 0 && (out_broken_ || (!lead_waits_ && out_.Fits(space_wanted_, space_limit_)));
}

bool StreamLink::Wait(int64_t deadline_ns) {
  if (TakeKick() || closed_.load(std::memory_order_acquire) || (!held_ && in_.HasFrame())) return false;
  const bool reads_next = !held_ && !want_write_.load(std::memory_order_relaxed) &&
                          !peer_gone_.load(std::memory_order_acquire);
  if (reads_next && yielder_.YieldUntil([this] { return CameWhileYielding(); })) {
    WatchInput(false);
    return false;
  }
  if (!kick_fd_.valid()) kick_fd_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  // Announce, then look: whoever has something to say sets it first and then looks for the announcement.
  // (SpaceDue() does so under out_mu_, which those who make space hold before they look.)
  waiting_.store(true, std::memory_order_seq_cst);
  const bool sleep =
      !kicked_.load(std::memory_order_seq_cst) && !SpaceDue() && (held_ || medium_->Arm());
  if (sleep) SleepInPoll(deadline_ns);
  waiting_.store(false, std::memory_order_seq_cst);
  TakeKick();
  return sleep;
}

void StreamLink::WatchInput(bool watch) {
  if (input_watched_ == watch || !poll_set_.valid()) return;
  input_watched_ = watch;
  Watch(watch ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, medium_->read_fd(), kInput, kIncoming);
}

// What an error or the end means is for Poll() to find out, which reads again.
bool StreamLink::CameWhileYielding() {
  if (TakeKick() || closed_.load(std::memory_order_acquire)) return true;
  const std::span<std::byte> room = in_.Room();
  const ssize_t got = medium_->Read(room.data(), room.size());
  if (got > 0) {
    in_.Filled(static_cast<size_t>(got));
    drained_ = medium_->Drained(static_cast<size_t>(got), room.size());
    return true;
  }
  drained_ = false;
  return got == 0 || errno != EAGAIN;
}

void StreamLink::SleepInPoll(int64_t deadline_ns) {
  enum { kKick, kRead, kWrite, kDied, kCount };
  pollfd fds[kCount];
  fds[kKick] = {.fd = kick_fd_.get(), .events = POLLIN, .revents = 0};
  fds[kRead] = {.fd = held_ ? -1 : medium_->read_fd(), .events = POLLIN, .revents = 0};
  fds[kWrite] = {.fd = output_tells_death() ? medium_->write_fd() : -1, .events = 0, .revents = 0};
  fds[kDied] = {.fd = peer_gone_.load(std::memory_order_relaxed) ? -1 : medium_->death_fd(), .events = POLLIN, .revents = 0};
  if (want_write_.load(std::memory_order_seq_cst)) {
    fds[kWrite].fd = one_socket() ? medium_->read_fd() : medium_->write_fd();
    fds[kWrite].events = POLLOUT;
  }
  if (held_ && one_socket()) fds[kWrite].fd = -1;  // its hang-up would end every sleep
  if (held_ || !kick_fd_.valid()) deadline_ns = std::min(deadline_ns, MonotonicNs() + kShortSleepNs);
  timespec timeout;
  if (deadline_ns != kNoDeadline) timeout = ToTimespec(deadline_ns - MonotonicNs());
  const nfds_t count = fds[kDied].fd >= 0 ? kCount : fds[kWrite].fd >= 0 ? kDied : kWrite;
  if (ppoll(fds, count, deadline_ns == kNoDeadline ? nullptr : &timeout, nullptr) <= 0) return;
  if (fds[kKick].revents != 0) {
    eventfd_t ignored;
    eventfd_read(kick_fd_.get(), &ignored);
  }
  if (fds[kRead].revents != 0) drained_ = false;
  if (!one_socket() && count > kWrite && (fds[kWrite].revents & (POLLERR | POLLNVAL)) != 0) NoteDeath();
  if (count > kDied && fds[kDied].revents != 0 && medium_->PeerDied()) NoteDeath();
}

// What the peer sent before is still to be read: the next Poll() looks for it, and finds the end behind it.
void StreamLink::NoteDeath() {
  peer_gone_.store(true, std::memory_order_release);
  drained_ = false;
}

bool StreamLink::BeginSleep() {
  if (TakeKick() || closed_.load(std::memory_order_acquire) || peer_gone_.load(std::memory_order_acquire))
    return false;
  if (held_ || in_.HasFrame() || SpaceDue() || !medium_->Arm()) return false;
  WatchInput(true);
  in_.Trim();
  const std::lock_guard lock(out_mu_);
  out_.Trim();
  return true;
}

void StreamLink::OnEvent(uint32_t epoll_events) {
  if (one_socket()) {
    if ((epoll_events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) drained_ = false;
    return;
  }
  // Several descriptors behind one: which of them it was decides.
  epoll_event events[3];
  const int count = epoll_wait(poll_set_.get(), events, 3, 0);
  for (int i = 0; i < count; ++i) {
    const uint64_t which = events[i].data.u64;
    if (which == kInput) drained_ = false;
    if (which == kOutput && (events[i].events & EPOLLERR) != 0) NoteDeath();
    if (which == kDeath && medium_->PeerDied()) NoteDeath();
  }
}

// ---- any thread --------------------------------------------------------------------------------

void StreamLink::Kick() {
  kicked_.store(true, std::memory_order_seq_cst);
  if (waiting_.load(std::memory_order_seq_cst) && kick_fd_.valid()) eventfd_write(kick_fd_.get(), 1);
}

void StreamLink::KickIfWaiting() {
  if (waiting_.load(std::memory_order_seq_cst)) Kick();
}

Link::HangupSource StreamLink::hangup() const {
  if (medium_->death_fd() >= 0) return {.fd = medium_->death_fd(), .events = EPOLLIN};
  return {.fd = medium_->read_fd(), .events = EPOLLRDHUP};
}

bool StreamLink::PeerHungUp() { return medium_->death_fd() < 0 || medium_->PeerDied(); }

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
    medium_->Hangup();
  }
  Kick();
}

absl::Status StreamLink::status() const {
  const std::lock_guard lock(why_mu_);
  return absl::Status(why_code_, why_message_);
}

}  // namespace ipcrpc
