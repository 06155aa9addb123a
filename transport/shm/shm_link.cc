#include "transport/shm/shm_link.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/base/clock.h"
#include "transport/base/copy.h"
#include "transport/base/futex.h"
#include "transport/base/log.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc::shm {
namespace {

constexpr int kControlMessagesPerVisit = 64;
constexpr int kControlVisitsForFds = 16;  // more messages than a socket holds
constexpr uint32_t kGrowthFactor = 16;
constexpr char kMemoryGone[] = "the memory or semaphore that the link needs was taken away";

}  // namespace

ShmLink::ShmLink(UniqueFd control, Agreement agreement, PeerIdentity peer, std::string description, SpinRule spin,
                 bool trusts_peer)
    : control_(std::move(control)),
      peer_identity_(peer),
      description_(std::move(description)),
      max_ring_bytes_(agreement.max_ring_bytes),
      trusts_peer_(trusts_peer),
      parts_(std::move(agreement.parts)),
      peer_kind_(agreement.peer_kind),
      own_mapping_(std::move(agreement.own)),
      peer_mapping_(std::move(agreement.peer)),
      own_bell_(std::move(agreement.own_bell)),
      peer_bell_(std::move(agreement.peer_bell)),
      own_(reinterpret_cast<Segment*>(own_mapping_.data())),
      peer_(reinterpret_cast<const Segment*>(peer_mapping_.data())),
      writer_(own_mapping_.data() + kRingOffset, agreement.own_ring_bytes, &peer_->head),
      reader_(peer_mapping_.data() + kRingOffset, agreement.peer_ring_bytes),
      sleeper_(own_, peer_),
      spin_(description_, spin),
      waker_(own_, peer_, control_.get(), peer_bell_.get()) {}

ShmLink::~ShmLink() {
  Close(absl::CancelledError("the link was closed"));
  if (peer_bell_ != nullptr && peer_gone_first_.load(std::memory_order_acquire)) peer_bell_->OwnerIsGone();
}

const Capabilities& ShmLink::capabilities() const { return kCapabilities; }

// ---- send role -------------------------------------------------------------------------------

std::byte* ShmLink::Scratch(uint32_t size) {
  reserved_scratch_ = true;
  scratch_.resize(size);
  return reinterpret_cast<std::byte*>(scratch_.data());
}

std::byte* ShmLink::Reserve(uint32_t size, Class frame_class) {
  reserved_scratch_ = false;
  if (closed_.load(std::memory_order_relaxed)) return Scratch(size);
  const uint32_t leave_free = frame_class == Class::kControl ? 0 : kControlReserve;
  std::byte* room = writer_.Reserve(size, leave_free);
  if (room == nullptr && GrowRing()) room = writer_.Reserve(size, leave_free);
  if (room == nullptr && !writer_.fault()) {
    WantSpace();  // then look again: the peer may have moved on meanwhile
    room = writer_.Reserve(size, leave_free);
    // It stays set even so: an earlier Reserve() may have failed that still waits for OnSpace().
    if (room == nullptr && own_ring_.broken()) {
      Fault(kMemoryGone);
      return Scratch(size);
    }
  }
  if (writer_.fault()) {
    Fault("its read position is impossible");
    return Scratch(size);
  }
  return room;
}

void ShmLink::WantSpace() {
  space_wanted_head_.store(peer_->head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  space_wanted_.store(true, std::memory_order_seq_cst);
}

bool ShmLink::TooManyParcels() {
  const uint64_t head = peer_->head.load(std::memory_order_acquire);
  while (!parcels_out_.empty() && parcels_out_.front() < head) parcels_out_.pop_front();
  return parcels_out_.size() >= kMaxParcelsOut;
}

// The descriptors are in the peer's queue before the record that announces them can be seen, as the memory of a swap is.
Link::FdSending ShmLink::SendFds(uint32_t parcel, std::span<const UniqueFd> fds) {
  if (reserved_scratch_) return FdSending::kSent;
  if (TooManyParcels()) {
    WantSpace();
    if (TooManyParcels()) return FdSending::kNoSpace;
  }
  IPCRPC_CHECK(fds.size() <= kMaxFdsPerMessage);
  int numbers[kMaxFdsPerMessage];
  for (size_t i = 0; i < fds.size(); ++i) numbers[i] = fds[i].get();
  FdNotice notice = {.type = 'F', .reserved = {}, .parcel = parcel};
  iovec bytes = {.iov_base = &notice, .iov_len = sizeof(notice)};
  if (SendWithFds(control_.get(), {&bytes, 1}, {numbers, fds.size()}) < 0) {
    // A peer that is gone needs none.
    return errno == EPIPE || errno == ECONNRESET ? FdSending::kSent : FdSending::kRefused;
  }
  parcels_out_.push_back(writer_.tail());
  return FdSending::kSent;
}

void ShmLink::Commit(uint32_t size) {
  if (!reserved_scratch_) writer_.Commit(size);
}

bool ShmLink::GrowRing() {
  if (growth_refused_ || writer_.fault() || writer_.size() >= max_ring_bytes_ || !writer_.ReaderHasMoved()) return false;
  const uint32_t ring_bytes = std::min(writer_.size() * kGrowthFactor, max_ring_bytes_);
  std::byte* body = writer_.Reserve(sizeof(SwapBody), 0);
  if (body == nullptr) return false;
  absl::StatusOr<OwnMemory> memory = MakeMemory(parts_, ring_bytes, Sharing::kPeerReads);
  if (!memory.ok()) {
    growth_refused_ = true;
    Log(LogSeverity::kWarning, Cat(description_, ": the ring stays at ", writer_.size(), " bytes: ", MessageOf(memory.status())));
    return false;
  }
  // The memory is in the peer's queue before the record that needs it can be seen.
  const SwapNotice notice = {.type = 'S', .reserved = {}, .number = swaps_sent_ + 1, .ring_bytes = ring_bytes, .id = memory->place.id};
  const bool numbered = !memory->place.fd.valid();
  const size_t bytes = numbered ? sizeof(notice) : kSwapNoticeBytes;
  if (!SendDatagram(control_.get(), &notice, bytes, {memory->place.fd.get()}).ok()) return false;
  const SwapBody swap = {.number = ++swaps_sent_, .ring_bytes = ring_bytes};
  std::memcpy(body, &swap, sizeof(swap));
  writer_.Commit(sizeof(swap), kSwap);
  retired_ring_ = std::exchange(own_ring_, memory->mapping);
  writer_.MoveTo(own_ring_.data(), ring_bytes);
  return true;
}

// ---- receive role ----------------------------------------------------------------------------

ShmLink::Progress ShmLink::Fault(absl::string_view what) {
  Close(absl::UnavailableError(absl::StrCat("protocol fault of the peer at ", description_, ": ", what)));
  return Progress::kClosed;
}

void ShmLink::PublishHead() {
  if (published_head_ == reader_.head()) return;
  published_head_ = reader_.head();
  // Pairs with the acquire in RingWriter::RefreshHead(): what was read may be overwritten. Then the peer may wait for it.
  own_->head.store(published_head_, std::memory_order_release);
  waker_.WakeFor(SleepWord::kSpace);
}

ShmLink::Progress ShmLink::Poll(FrameSink& sink, int max_frames) {
  if (closed_.load(std::memory_order_acquire)) return Progress::kClosed;
  // Read before the ring: what the peer sent before it went is delivered.
  const bool gone = peer_gone_.load(std::memory_order_acquire);
  if (gone && !gone_at_head_.has_value()) gone_at_head_ = reader_.head();
  int frames = 0;
  bool held = false;
  while (frames < max_frames && !held) {
    const std::byte* frame;
    uint32_t bytes;
    const RingReader::Next next = reader_.Peek(&frame, &bytes);
    if (next == RingReader::Next::kEmpty) break;
    if (next == RingReader::Next::kFault) return Fault("a broken record");
    if (next == RingReader::Next::kSwap) {
      if (absl::Status followed = FollowSwap(frame, bytes); !followed.ok()) return Fault(followed.message());
      continue;
    }
    switch (sink.OnFrame({frame, bytes}, /*untrusted=*/true)) {
      case FrameSink::Verdict::kConsumed:
        reader_.Consume();
        ++frames;
        if (reader_.head() - published_head_ > reader_.size() / 8) PublishHead();
        break;
      case FrameSink::Verdict::kHold:
        held = true;
        break;
      case FrameSink::Verdict::kFault:
        return Fault("a frame that breaks the protocol");
    }
    if (closed_.load(std::memory_order_relaxed)) return Progress::kClosed;
  }
  // What it had sent fits the ring. Who hangs up and goes on writing is not listened to for ever.
  if (gone && reader_.head() - *gone_at_head_ > reader_.size()) return Fault("it wrote on after it hung up");
  PublishHead();
  if (SpaceCame()) {
    space_wanted_.store(false, std::memory_order_relaxed);
    sink.OnSpace();
  }
  if (frames > 0) return Progress::kFrames;
  if (held) return Progress::kHeld;
  if (gone) {
    Close(absl::UnavailableError(absl::StrCat("the peer at ", description_, " is gone")));
    return Progress::kClosed;
  }
  if (!PeerClosed()) return Progress::kIdle;
  NotePeerGone();
  return Poll(sink, max_frames);  // what it wrote before that may have come only now
}

bool ShmLink::SpaceCame() const {
  return space_wanted_.load(std::memory_order_seq_cst) &&
         peer_->head.load(std::memory_order_acquire) != space_wanted_head_.load(std::memory_order_relaxed);
}

bool ShmLink::Ready() const {
  return reader_.MayHaveNext() || PeerClosed() || kicks_.load(std::memory_order_seq_cst) != kicks_taken_ || SpaceCame();
}

uint32_t ShmLink::SleepReasons() const {
  return SleepWord::kData | (space_wanted_.load(std::memory_order_seq_cst) ? SleepWord::kSpace : 0u);
}

bool ShmLink::TakeKick() { return std::exchange(kicks_taken_, kicks_.load(std::memory_order_acquire)) != kicks_taken_; }

// Stored only when it changes: the peer reads this cache line with every frame that it sends.
void ShmLink::NoteCpu() {
  const auto cpu = static_cast<uint32_t>(CurrentCpu());
  if (own_->cpu.load(std::memory_order_relaxed) != cpu) own_->cpu.store(cpu, std::memory_order_relaxed);
}

bool ShmLink::Wait(int64_t deadline_ns) {
  NoteCpu();
  if (spin_.Spin([this] { return Ready(); }, [this] { return peer_cpu(); })) {
    TakeKick();
    return false;
  }
  const uint32_t sequence = peer_->wake_sequence.load(std::memory_order_acquire);
  sleeper_.Announce(SleepWord::kFutex, SleepReasons());
  waiting_.store(true, std::memory_order_seq_cst);
  bool able = !MemoryBroken();
  if (able && !Ready()) {
    if (own_bell_ != nullptr) {
      able = own_bell_->Wait(deadline_ns);
    } else {
      FutexWaitTwo(&peer_->wake_sequence, sequence, &kicks_, kicks_taken_, deadline_ns);
    }
  }
  waiting_.store(false, std::memory_order_relaxed);
  sleeper_.Retract();
  TakeKick();
  const bool woken = peer_->wake_sequence.load(std::memory_order_acquire) != sequence;
  const uint32_t latency = static_cast<uint32_t>(Ticks()) - peer_->wake_ticks.load(std::memory_order_relaxed);
  spin_.NoteSleep(woken ? latency : 0);
  if (!able) Fault(kMemoryGone);
  return true;
}

bool ShmLink::BeginSleep() {
  NoteCpu();
  sleeper_.Announce(SleepWord::kDoorbell, SleepReasons());
  if (MemoryBroken()) Fault(kMemoryGone);
  if (!Ready()) return true;
  sleeper_.Retract();
  TakeKick();
  return false;
}

void ShmLink::OnEvent(uint32_t epoll_events) {
  DrainControl();
  if ((epoll_events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) NotePeerGone();
}

// Zeros have taken the place of what was cut short. A look before each sleep is enough: zeros are no frames, so a link that gets
// nothing else soon sleeps. (A ring of our own that was cut short fills up: see Reserve().)
bool ShmLink::MemoryBroken() const { return own_mapping_.broken() || peer_mapping_.broken() || peer_ring_.broken(); }

int ShmLink::peer_cpu() const { return static_cast<int>(peer_->cpu.load(std::memory_order_relaxed)); }

bool ShmLink::worth_a_spin_for_space() const {
  if (spin_.mode() == SpinMode::kOff || (peer_->sleep.load(std::memory_order_relaxed) & SleepWord::kKindMask) != SleepWord::kAwake) return false;
  return peer_cpu() != CurrentCpu();
}

bool ShmLink::DrainControl() {
  for (int i = 0; i < kControlMessagesPerVisit; ++i) {
    absl::StatusOr<std::optional<Datagram>> datagram = ReceiveDatagram(control_.get());
    if (!datagram.ok()) {
      if (absl::IsInvalidArgument(datagram.status())) {
        Fault(datagram.status().message());
      } else {
        NotePeerGone();
      }
      return false;
    }
    if (!datagram->has_value()) return false;
    if (!OnControl(**std::move(datagram))) {
      Fault("an unknown message on the control socket");
      return false;
    }
  }
  return true;
}

bool ShmLink::OnControl(Datagram datagram) {
  const std::string& bytes = datagram.bytes;
  if (bytes == "D" && !datagram.fds.any()) return true;
  if (bytes.size() == sizeof(FdNotice) && bytes[0] == 'F') {
    FdNotice notice;
    std::memcpy(&notice, bytes.data(), sizeof(notice));
    return datagram.fds.any() && notice.parcel == fds_in_.next_number() && fds_in_.Push(std::move(datagram.fds));
  }
  SwapNotice notice = {};
  const bool numbered = peer_kind_.segment == SegmentKind::kSysv;
  const size_t due = numbered ? sizeof(notice) : kSwapNoticeBytes;
  if (bytes.size() != due || bytes[0] != 'S' || datagram.fds.fds.size() != (numbered ? 0u : 1u) || next_ring_.has_value()) {
    CloseElsewhere(std::move(datagram.fds.fds));
    return false;
  }
  std::memcpy(&notice, bytes.data(), due);
  next_ring_ = PeerRing{notice.number, notice.ring_bytes, {.fd = numbered ? UniqueFd() : std::move(datagram.fds.fds[0]), .id = notice.id}};
  return true;
}

absl::StatusOr<std::vector<UniqueFd>> ShmLink::TakeFds(uint32_t parcel, size_t count) {
  for (int visits = 0; fds_in_.empty() && visits < kControlVisitsForFds && DrainControl(); ++visits) {
  }
  return fds_in_.Take(parcel, count);
}

absl::Status ShmLink::FollowSwap(const std::byte* frame, uint32_t frame_bytes) {
  SwapBody swap;
  if (frame_bytes != sizeof(swap)) return absl::InvalidArgumentError("a ring swap of a wrong size");
  CopyBytes(reinterpret_cast<std::byte*>(&swap), frame, sizeof(swap));
  if (!next_ring_.has_value()) DrainControl();
  if (!next_ring_.has_value() || next_ring_->number != swap.number || swap.number != swaps_seen_ + 1 ||
      next_ring_->ring_bytes != swap.ring_bytes || !IsRingSize(swap.ring_bytes) || swap.ring_bytes > max_ring_bytes_) {
    return absl::InvalidArgumentError("a ring swap without the memory for it");
  }
  ASSIGN_OR_RETURN(Mapping ring, MapPeerMemory(peer_kind_, next_ring_->place, swap.ring_bytes, Sharing::kPeerReads));
  next_ring_.reset();
  ++swaps_seen_;
  reader_.Consume();
  reader_.MoveTo(ring.data(), swap.ring_bytes);
  peer_ring_ = std::move(ring);
  PublishHead();
  return absl::OkStatus();
}

// ---- any thread ------------------------------------------------------------------------------

void ShmLink::Kick() {
  kicks_.fetch_add(1, std::memory_order_seq_cst);
  if (!waiting_.load(std::memory_order_seq_cst)) return;
  if (own_bell_ != nullptr) {
    own_bell_->Kick();
  } else {
    FutexWake(&kicks_, FutexScope::kPrivate, 1);
  }
}

void ShmLink::NotePeerGone() {
  // Our own Close() hangs up, too, and then the peer may still be reading what it was sent.
  if (!closed_.load(std::memory_order_acquire)) peer_gone_first_.store(true, std::memory_order_release);
  peer_gone_.store(true, std::memory_order_release);
  Kick();
}

void ShmLink::Close(absl::Status why) {
  if (!fork_guard_.ours()) return;  // it is the parent's
  {
    std::lock_guard lock(mu_);
    if (why_code_ != absl::StatusCode::kOk) return;
    why_code_ = why.ok() ? absl::StatusCode::kCancelled : why.code();
    why_message_ = std::string(why.message());
  }
  closed_.store(true, std::memory_order_release);
  own_->closed.store(1, std::memory_order_release);
  waker_.WakeFor(SleepWord::kData);
  if (!peer_gone_.load(std::memory_order_acquire)) shutdown(control_.get(), SHUT_RDWR);
  Kick();
}

absl::Status ShmLink::status() const {
  std::lock_guard lock(mu_);
  return absl::Status(why_code_, why_message_);
}

}  // namespace ipcrpc::shm
