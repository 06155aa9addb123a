#include "transport/inproc/inproc_link.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <limits>
#include <utility>

#include "transport/base/atomics.h"
#include "transport/base/clock.h"
#include "transport/base/futex.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc::inproc {

// ---- End ---------------------------------------------------------------------------------------

End::End() : ring(static_cast<std::byte*>(calloc(1, kRingBytes)), &free) { IPCRPC_CHECK(ring != nullptr); }

void End::Wake() {
  if (sleep.load(std::memory_order_relaxed) == kAwake) return;
  switch (sleep.exchange(kAwake, std::memory_order_seq_cst)) {
    case kInWait:
      wakes.fetch_add(1, std::memory_order_release);
      FutexWake(&wakes, FutexScope::kPrivate, 1);
      break;
    case kInEpoll: {
      const std::lock_guard lock(bell_mu_);
      const char ring_it = 0;
      if (bell_write_.valid()) [[maybe_unused]] ssize_t ignored = write(bell_write_.get(), &ring_it, 1);
      break;
    }
    default:
      break;  // somebody else was faster
  }
}

int End::Bell(const std::atomic<bool>& peer_left) {
  const std::lock_guard lock(bell_mu_);
  if (!bell_read_.valid()) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
    bell_read_.reset(ends[0]);
    bell_write_.reset(ends[1]);
    if (bell_hung_up_ || peer_left.load(std::memory_order_acquire)) bell_write_.reset();
  }
  return bell_read_.get();
}

void End::HangUpBell() {
  const std::lock_guard lock(bell_mu_);
  bell_hung_up_ = true;
  bell_write_.reset();
}

void End::SilenceBell() {
  const std::lock_guard lock(bell_mu_);
  char bytes[64];
  if (bell_read_.valid()) [[maybe_unused]] ssize_t ignored = read(bell_read_.get(), bytes, sizeof bytes);
}

void End::CloseBell() {
  const std::lock_guard lock(bell_mu_);
  bell_read_.reset();
  bell_write_.reset();
}

// ---- InprocLink --------------------------------------------------------------------------------

InprocLink::InprocLink(std::shared_ptr<Ends> ends, size_t own, std::string description)
    : ends_(std::move(ends)),
      own_((*ends_)[own]),
      peer_((*ends_)[1 - own]),
      peer_identity_{.pid = getpid(), .uid = geteuid(), .gid = getegid(), .vouched = true},
      description_(std::move(description)),
      writer_(own_.ring.get(), kRingBytes, &peer_.head),
      reader_(peer_.ring.get(), kRingBytes) {}

InprocLink::~InprocLink() {
  Close(absl::CancelledError("the link was closed"));
  // The rest lives as long as the peer.
  own_.CloseBell();
  DropFds();
}

uint32_t InprocLink::max_frame_bytes() const { return shm::MaxFrameBytes(kRingBytes); }

std::byte* InprocLink::Scratch(uint32_t size) {
  reserved_scratch_ = true;
  scratch_.resize(size);
  return reinterpret_cast<std::byte*>(scratch_.data());
}

std::byte* InprocLink::Reserve(uint32_t size, Class frame_class) {
  reserved_scratch_ = false;
  if (closed_.load(std::memory_order_relaxed)) return Scratch(size);
  const uint32_t leave_free = frame_class == Class::kControl ? 0 : shm::kControlReserve;
  std::byte* room = writer_.Reserve(size, leave_free);
  if (room != nullptr) return room;
  // Said, then looked at again: the peer may have moved on meanwhile. It stays said even when there is room now: an earlier
  // Reserve() may have failed that still waits for OnSpace().
  WantSpace();
  return writer_.Reserve(size, leave_free);
}

void InprocLink::WantSpace() {
  space_wanted_head_.store(peer_.head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  own_.space_wanted.store(true, std::memory_order_seq_cst);
  Fence();
}

Link::FdSending InprocLink::SendFds(uint32_t, std::span<const UniqueFd> fds) {
  if (reserved_scratch_) return FdSending::kSent;
  const auto full = [this] {
    const std::lock_guard lock(own_.fds_mu);
    return own_.fds.full();
  };
  if (full()) {
    WantSpace();
    if (full()) return FdSending::kNoSpace;
  }
  ArrivedFds parcel;
  for (const UniqueFd& fd : fds) {
    parcel.fds.push_back(UniqueFd::DuplicateOf(fd.get()));
    if (!parcel.fds.back().valid()) return FdSending::kRefused;
  }
  const std::lock_guard lock(own_.fds_mu);
  IPCRPC_CHECK(own_.fds.Push(std::move(parcel)));
  return FdSending::kSent;
}

void InprocLink::Commit(uint32_t size) {
  if (!reserved_scratch_) writer_.Commit(size);
}

void InprocLink::Flush() {
  Fence();
  peer_.Wake();
}

void InprocLink::PublishHead() {
  if (published_head_ == reader_.head()) return;
  published_head_ = reader_.head();
  // Pairs with the acquire in RingWriter::RefreshHead(): what was read may be overwritten.
  own_.head.store(published_head_, std::memory_order_release);
  Fence();
  if (peer_.space_wanted.load(std::memory_order_relaxed)) peer_.Wake();
}

Link::Progress InprocLink::Poll(FrameSink& sink, int max_frames) {
  if (closed_.load(std::memory_order_acquire)) return Progress::kClosed;
  // Read before the ring: what the peer sent before it went is delivered.
  const bool gone = peer_.left.load(std::memory_order_acquire) || peer_gone_.load(std::memory_order_acquire);
  int frames = 0;
  bool held = false;
  while (frames < max_frames && !held) {
    const std::byte* frame;
    uint32_t bytes;
    const shm::RingReader::Next next = reader_.Peek(&frame, &bytes);
    if (next == shm::RingReader::Next::kEmpty) break;
    IPCRPC_CHECK(next == shm::RingReader::Next::kFrame);  // nobody else writes there
    switch (sink.OnFrame({frame, bytes}, /*untrusted=*/false)) {
      case FrameSink::Verdict::kConsumed:
        reader_.Consume();
        ++frames;
        if (reader_.head() - published_head_ > reader_.size() / 8) PublishHead();
        break;
      case FrameSink::Verdict::kHold:
        held = true;
        break;
      case FrameSink::Verdict::kFault:
        Close(absl::InternalError(Cat("link ", description_, " closed: the peer broke the protocol of calls")));
        return Progress::kClosed;
    }
    if (closed_.load(std::memory_order_relaxed)) return Progress::kClosed;
  }
  PublishHead();
  if (SpaceCame()) {
    own_.space_wanted.store(false, std::memory_order_relaxed);
    sink.OnSpace();
  }
  if (frames > 0) return Progress::kFrames;
  if (held) return Progress::kHeld;
  if (gone) {
    Close(absl::UnavailableError(Cat("the peer at ", description_, " is gone")));
    return Progress::kClosed;
  }
  return Progress::kIdle;
}

absl::StatusOr<std::vector<UniqueFd>> InprocLink::TakeFds(uint32_t parcel, size_t count) {
  const std::lock_guard lock(peer_.fds_mu);
  return peer_.fds.Take(parcel, count);
}

void InprocLink::DropFds() {
  const std::lock_guard lock(peer_.fds_mu);
  peer_.fds.Clear();
}

bool InprocLink::SpaceCame() const {
  return own_.space_wanted.load(std::memory_order_seq_cst) &&
         peer_.head.load(std::memory_order_acquire) != space_wanted_head_.load(std::memory_order_relaxed);
}

bool InprocLink::Ready() const {
  return reader_.MayHaveNext() || kicked_.load(std::memory_order_seq_cst) || peer_.left.load(std::memory_order_acquire) ||
         closed_.load(std::memory_order_acquire) || SpaceCame();
}

bool InprocLink::Announce(End::Sleep how) {
  own_.sleep.store(how, std::memory_order_seq_cst);
  Fence();
  if (!Ready()) return true;
  own_.sleep.store(End::kAwake, std::memory_order_relaxed);
  TakeKick();
  return false;
}

void InprocLink::NoteCpu() {
  const int cpu = CurrentCpu();
  if (own_.cpu.load(std::memory_order_relaxed) != cpu) own_.cpu.store(cpu, std::memory_order_relaxed);
}

bool InprocLink::Wait(int64_t deadline_ns) {
  NoteCpu();
  if (spin_.Spin([this] { return Ready(); }, [this] { return peer_cpu(); })) {
    TakeKick();
    return false;
  }
  const uint32_t wakes = own_.wakes.load(std::memory_order_acquire);
  if (!Announce(End::kInWait)) return false;
  FutexWait(&own_.wakes, wakes, FutexScope::kPrivate, deadline_ns);
  own_.sleep.store(End::kAwake, std::memory_order_relaxed);
  TakeKick();
  spin_.NoteSleep(/*wake_latency_ticks=*/0);
  return true;
}

int InprocLink::event_fd() const {
  const int bell = own_.Bell(peer_.left);
  if (bell < 0) {
    // Nobody could be told of anything.
    const_cast<InprocLink*>(this)->Close(
        absl::ResourceExhaustedError(Cat("link ", description_, " closed: no file descriptor left for its wake-ups")));
  }
  return bell;
}

bool InprocLink::BeginSleep() {
  NoteCpu();
  return Announce(End::kInEpoll);
}

void InprocLink::OnEvent(uint32_t epoll_events) {
  if ((epoll_events & EPOLLIN) != 0) own_.SilenceBell();
}

// ---- any thread --------------------------------------------------------------------------------

void InprocLink::Kick() {
  kicked_.store(true, std::memory_order_seq_cst);
  Fence();
  own_.Wake();
}

void InprocLink::NotePeerGone() {
  peer_gone_.store(true, std::memory_order_release);
  Kick();
}

void InprocLink::Close(absl::Status why) {
  if (!fork_guard_.ours()) return;  // it is the parent's
  {
    const std::lock_guard lock(why_mu_);
    if (why_code_ != absl::StatusCode::kOk) return;
    why_code_ = why.ok() ? absl::StatusCode::kCancelled : why.code();
    why_message_ = std::string(MessageOf(why));
  }
  closed_.store(true, std::memory_order_seq_cst);
  own_.left.store(true, std::memory_order_seq_cst);
  Fence();
  peer_.HangUpBell();
  peer_.Wake();
  Kick();
}

absl::Status InprocLink::status() const {
  const std::lock_guard lock(why_mu_);
  return absl::Status(why_code_, why_message_);
}

}  // namespace ipcrpc::inproc
