#include "rpc/connection.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "rpc/convert.h"
#include "transport/base/company.h"
#include "transport/base/copy.h"
#include "transport/base/features.h"
#include "transport/base/log.h"
#include "transport/base/scm_rights.h"
#include "transport/base/strings.h"
#include "transport/base/ticks.h"
#include "transport/base/wake_batch.h"
#include "transport/fd_queue.h"

namespace ipcrpc::rpc {
namespace {

// A peer that does not read what it asks for is not served beyond this.
constexpr size_t kMaxOutbox = 64 * 1024;
// Between two looks at the deadlines of a connection.
constexpr int64_t kExpirePauseNs = 500'000;
// A connection on which nobody waited for so long may have heard of its end meanwhile.
constexpr uint64_t kIdleUs = 1000;
// How long one thread goes on leading where others wait.
constexpr uint64_t kTurnUs = 10;

// What says whose CLOCK_MONOTONIC is ours. Looked up once for each thread and process: a forked child may be in another time
// namespace than its parent.
const HelloBody& ClockFacts() {
  constexpr ssize_t kBootIdBytes = 36;
  thread_local HelloBody facts;
  thread_local uint64_t process = 0;
  if (std::exchange(process, ProcessToken()) != process) {
    facts = HelloBody();
    const UniqueFd boot_id(open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    if (boot_id.valid() && read(boot_id.get(), facts.boot_id, kBootIdBytes) != kBootIdBytes) facts.boot_id[0] = 0;
    struct stat info;
    if (stat("/proc/self/ns/time", &info) == 0) facts.time_namespace = info.st_ino;
  }
  return facts;
}

}  // namespace

bool SharesClock(const HelloBody& peer) {
  const HelloBody& own = ClockFacts();
  return own.boot_id[0] != 0 && own.time_namespace == peer.time_namespace &&
         std::memcmp(own.boot_id, peer.boot_id, sizeof(own.boot_id)) == 0;
}

Connection::Connection(std::unique_ptr<Link> link, std::shared_ptr<IoRuntime> runtime)
    : link_(std::move(link)), peer_(std::make_shared<const Peer>(Peer{link_->description(), link_->peer()})), runtime_(std::move(runtime)) {}

Connection::~Connection() {
  if (!ours()) return;
  ForgetHangup();
  CloseMemory();
  if (deadline_timer_ != 0) runtime_->timers().Remove(deadline_timer_);
  if (keepalive_timer_ != 0) runtime_->timers().Remove(keepalive_timer_);
}

// ---- sending ---------------------------------------------------------------------------------

void Connection::SendControl(const FrameHeader& header) {
  const auto size = [](uint32_t) { return kHeaderBytes; };
  const auto fill = [&](std::byte* at, uint32_t) { std::memcpy(at, &header, sizeof(header)); };
  if (SendFrame(Link::Class::kControl, size, fill) == SendResult::kSent) return;
  {
    std::lock_guard lock(send_mu_);
    if (outbox_.size() >= kMaxOutbox) {
      link_->Close(absl::ResourceExhaustedError("the peer does not read what it is sent"));
      return;
    }
    outbox_.emplace_back(reinterpret_cast<const char*>(&header), sizeof(header));
    outbox_waits_.store(true, std::memory_order_release);
    FlushOutbox();  // space may have come since
  }
  KickHolder();  // it has to look for space now
}

bool Connection::FlushOutbox() {
  while (!outbox_.empty()) {
    const std::string& frame = outbox_.front();
    std::byte* at = link_->Reserve(static_cast<uint32_t>(frame.size()), Link::Class::kControl);
    if (at == nullptr) break;
    std::memcpy(at, frame.data(), frame.size());
    link_->Commit(static_cast<uint32_t>(frame.size()));
    outbox_.pop_front();
  }
  link_->Flush();
  outbox_waits_.store(!outbox_.empty(), std::memory_order_release);
  return outbox_.empty();
}

// What the kernel refuses to pass is announced all the same, as not sent: so the call ends where the message arrives, and both
// sides hear of it.
bool Connection::SendFds(FdsToSend& fds) {
  const uint32_t parcel = ParcelAfter(parcels_sent_);
  switch (link_->SendFds(parcel, **fds.fds_)) {
    case Link::FdSending::kNoSpace:
      return false;
    case Link::FdSending::kSent:
      fds.parcel_ = parcels_sent_ = parcel;
      return true;
    case Link::FdSending::kRefused:
      Log(LogSeverity::kWarning, Cat(peer_->description, ": ", fds.count(), " file descriptors could not be sent: ", strerror(errno)));
      fds.parcel_ = 0;
      return true;
  }
  return true;
}

bool Connection::TakeFrameFds(const FrameHeader& header) {
  if (header.fd_sequence == 0) {
    why_lost_ = Status(StatusCode::RESOURCE_EXHAUSTED,
                             Cat(int{header.fd_count}, " file descriptors of a message could not be sent: the sender's kernel refused"));
    return true;
  }
  absl::StatusOr<std::vector<UniqueFd>> fds = link_->TakeFds(header.fd_sequence, header.fd_count);
  if (absl::IsInvalidArgument(fds.status())) return false;
  if (!fds.ok()) {
    why_lost_ = FromAbsl(fds.status());
    return true;
  }
  if (unread_fds_ == nullptr) unread_fds_ = std::make_shared<std::atomic<uint32_t>>(0);
  if (unread_fds_->load(std::memory_order_relaxed) + fds->size() > kMaxUnreadFds) {
    CloseElsewhere(*std::move(fds));
    why_lost_ = Status(StatusCode::RESOURCE_EXHAUSTED,
                             Cat("more than ", kMaxUnreadFds, " file descriptors that came with messages are unread on one connection"));
    return true;
  }
  frame_fds_ = *std::move(fds);
  return true;
}

void Connection::SendHello(uint32_t max_streams) {
  HelloBody body = ClockFacts();
  body.max_streams = max_streams;
  if (TakesReferences()) {
    body.features = kTakesReferences;
    if (link_->trusts_peer()) {
      body.features |= kKeepsReferences;
      body.pid = static_cast<uint32_t>(getpid());
    }
  }
  const auto size = [](uint32_t) { return static_cast<uint32_t>(kHeaderBytes + sizeof(HelloBody)); };
  const auto fill = [&](std::byte* at, uint32_t) {
    const FrameHeader header = {.type = FrameType::kHello};
    std::memcpy(at, &header, sizeof(header));
    std::memcpy(at + sizeof(header), &body, sizeof(body));
  };
  SendFrame(Link::Class::kControl, size, fill);  // the first frame of a link always finds space
}

void Connection::PumpWhenSpace(Stream* stream) {
  {
    std::lock_guard lock(waiters_mu_);
    if (!std::exchange(stream->waits_for_space_, true)) space_waiters_.emplace_back(stream);
  }
  KickHolder();
}

size_t Connection::waiting_for_space() {
  std::lock_guard lock(waiters_mu_);
  return space_waiters_.size();
}

bool Connection::Unsent() {
  return outbox_waits_.load(std::memory_order_acquire) || link_->wants_write() || waiting_for_space() != 0;
}

void Connection::DriveWhileUnsent() {
  if (poller() != nullptr || !Unsent() || driving_.exchange(true, std::memory_order_seq_cst)) return;
  auto self = std::static_pointer_cast<Connection>(shared_from_this());
  if (!runtime_->Submit([self = std::move(self)] { self->Drive(); })) driving_.store(false, std::memory_order_seq_cst);
}

void Connection::Drive() {
  const StreamPtr waiter = Stream::Make(this, /*id=*/0, /*max_receive_bytes=*/0);
  do {
    WaitUntil(*waiter, [this] { return closed() || !Unsent(); }, kNoDeadline);
    driving_.store(false, std::memory_order_seq_cst);
  } while (!closed() && Unsent() && !driving_.exchange(true, std::memory_order_seq_cst));
}

void Connection::OnSpace() {
  {
    std::lock_guard lock(send_mu_);
    if (!outbox_.empty()) FlushOutbox();
  }
  std::vector<StreamPtr> streams;
  {
    std::lock_guard lock(waiters_mu_);
    streams.swap(space_waiters_);
    for (const StreamPtr& stream : streams) stream->waits_for_space_ = false;
  }
  for (const StreamPtr& stream : streams) {
    stream->Pump();
    if (stream->lingering()) EraseWhenDrained(stream.get());
  }
}

// ---- the receive role ------------------------------------------------------------------------

void Connection::KickHolder() {
  if (Poller* by = poller()) {
    by->Kick(this);
  } else {
    link_->Kick();
  }
}

bool Connection::Lead(Stream& stream) {
  if (poller() != nullptr || !TryTakeRole()) return false;
  led_ = &stream;
  stream.leads_ = true;
  stream.unlisted_.store(true, std::memory_order_relaxed);
  return true;
}

void Connection::StopLeading(Stream& stream) {
  // Of those that did not lead from their begin a second thread, the writer's, may look at the same time.
  if (stream.leads_) {
    if (stream.unlisted_.load(std::memory_order_relaxed)) [[unlikely]] List(stream);
    stream.leads_ = false;
  }
  led_ = nullptr;
  LeaveRole();
}

// Who leads and finds its answer at once goes on with its next call, in the time that it takes to hand the lead over; the others
// wait for their turn to lead.
bool Connection::TurnIsOver(uint64_t now) {
  if (follower_count_.load(std::memory_order_relaxed) == 0) [[likely]] return false;
  const void* const thread = &ThisThreadsPatience();
  if (std::exchange(leader_, thread) != thread) turn_began_ticks_ = now;
  return now - turn_began_ticks_ > kTurnUs * TicksPerMicrosecond();
}

void Connection::LeaveRole() {
  const uint64_t now = Ticks();
  const bool give_way = TurnIsOver(now);
  if (give_way) leader_ = nullptr;
  left_ticks_.store(now, std::memory_order_relaxed);
  role_taken_.store(false, std::memory_order_seq_cst);
  if (wants_poller_.load(std::memory_order_seq_cst) && TryTakeRole()) return GiveRoleToPoller();
  if (hung_up_.load(std::memory_order_seq_cst)) ReadToEnd();
  OfferRole();
  if (give_way) ThisThreadsPatience().GiveWay();
}

// The wish is noted before the role is tried, and looked for after the role is left: one of the two gives it away.
void Connection::ServeByPoller() {
  if (poller() != nullptr || closed() || wants_poller_.exchange(true, std::memory_order_seq_cst)) return;
  if (TryTakeRole()) {
    GiveRoleToPoller();
  } else {
    link_->Kick();
  }
}

// The role stays taken. Followers sleep on their streams, where the poller's deliveries reach them.
void Connection::GiveRoleToPoller() { runtime_->Attach(shared_from_this()); }

// Deadlines are looked at all together, when the earliest of those that were ever asked for has come: a call that ends in
// time costs nothing more. A stream notes its deadline before it looks at the timer's; who sets the timer forgets the old time
// before it looks at the streams: one of the two sees the other.
void Connection::WatchDeadline(const StreamPtr& stream, int64_t deadline_ns) {
  if (deadline_ns == kNoDeadline) return;
  stream->expires_ns_.store(deadline_ns, std::memory_order_seq_cst);
  SetDeadlineTimer(deadline_ns);
}

void Connection::SetDeadlineTimer(int64_t when_ns) {
  if (when_ns >= next_deadline_ns_.load(std::memory_order_seq_cst)) return;
  std::lock_guard lock(deadline_mu_);
  if (when_ns >= next_deadline_ns_.load(std::memory_order_relaxed)) return;
  if (deadline_timer_ == 0) {
    deadline_timer_ = runtime_->timers().Add([weak = weak_from_this()] {
      if (auto self = std::static_pointer_cast<Connection>(weak.lock())) self->ExpireStreams();
    });
  }
  next_deadline_ns_.store(when_ns, std::memory_order_seq_cst);
  runtime_->timers().Set(deadline_timer_, when_ns);
}

void Connection::ExpireStreams() {
  next_deadline_ns_.store(kNoDeadline, std::memory_order_seq_cst);
  const int64_t now = MonotonicNs();
  std::vector<StreamPtr> expired;
  int64_t next_ns = kNoDeadline;
  {
    std::lock_guard lock(table_mu_);
    streams_.ForEach([&](const StreamPtr& stream) {
      if (stream->expires_ns() <= now) {
        expired.push_back(stream);
      } else {
        next_ns = std::min(next_ns, stream->expires_ns());
      }
    });
  }
  for (const StreamPtr& stream : expired) {
    stream->expires_ns_.store(kNoDeadline, std::memory_order_seq_cst);  // a lingering one stays in the table
    OnDeadline(stream);
  }
  // Not sooner than this: deadlines close together are looked at together.
  if (next_ns != kNoDeadline) SetDeadlineTimer(std::max(next_ns, now + kExpirePauseNs));
}

// The hang-up is noted before the role is tried, and looked for after the role is left: one of the two reads on.
void Connection::ReadToEnd() {
  while (!closed() && TryTakeRole()) {
    while (PollLink(kFramesPerTurn) != Link::Progress::kClosed) {
    }
    CloseStreams();
    role_taken_.store(false, std::memory_order_seq_cst);
  }
}

void Connection::CatchUp() {
  if (Ticks() - left_ticks_.load(std::memory_order_relaxed) >= kIdleUs * TicksPerMicrosecond()) LookAround();
}

// Who sleeps on a stream has all of its messages when it wakes.
Link::Progress Connection::PollLink(int frames) {
  WakeBatch wakes;
  return link_->Poll(*this, frames);
}

void Connection::LookAround() {
  if (!TryTakeRole()) return;
  // Twice: a link may rest once before it asks the kernel.
  for (int i = 0; i < 2; ++i) {
    if (PollLink(kFramesPerTurn) == Link::Progress::kClosed) CloseStreams();
  }
  LeaveRole();
}

// The role is left before the followers are counted, and a follower counts itself before it looks at the role: one of
// the two sees the other.
void Connection::OfferRole() {
  if (follower_count_.load(std::memory_order_seq_cst) == 0) return;
  std::lock_guard lock(followers_mu_);
  if (!followers_.empty()) followers_.front()->Wake();
}

void Connection::Follow(Stream& stream, uint32_t events, int64_t deadline_ns) {
  {
    std::lock_guard lock(followers_mu_);
    followers_.push_back(&stream);
    follower_count_.store(followers_.size(), std::memory_order_seq_cst);
  }
  // Registered first: a leader that leaves after this look finds us in the list.
  if (role_taken_.load(std::memory_order_seq_cst)) stream.SleepUnless(events, deadline_ns);
  std::lock_guard lock(followers_mu_);
  followers_.erase(std::find(followers_.begin(), followers_.end(), &stream));
  follower_count_.store(followers_.size(), std::memory_order_seq_cst);
}

void Connection::WatchHangup() {
  // The connection may be gone by the time it happens.
  std::weak_ptr<PollTarget> weak = weak_from_this();
  hangup_watch_ = runtime_->WatchHangup(*link_, [weak] {
    if (auto self = std::static_pointer_cast<Connection>(weak.lock())) {
      self->link_->NotePeerGone();
      self->EndOfLink();
    }
  });
}

void Connection::ForgetHangup() {
  if (const uint64_t watch = hangup_watch_.exchange(0)) runtime_->ForgetHangup(watch);
}

void Connection::EndOfLink() {
  hung_up_.store(true, std::memory_order_seq_cst);
  ReadToEnd();
  OfferRole();
}

void Connection::StartKeepalive(const Keepalive& keepalive) {
  if (keepalive.time_ns == kNoDeadline) return;
  keepalive_ = keepalive;
  keepalive_timer_ = runtime_->timers().Add([weak = weak_from_this()] {
    if (auto self = std::static_pointer_cast<Connection>(weak.lock())) self->KeepAlive();
  });
  runtime_->timers().Set(keepalive_timer_, MonotonicNs() + keepalive_.time_ns);
}

void Connection::KeepAlive() {
  if (closed()) return;
  // A client's answers lie there while nobody waits for a call; a poller reads them as they come.
  if (poller() == nullptr) LookAround();
  const uint64_t frames = frames_.load(std::memory_order_relaxed);
  const bool silent = frames == frames_known_;
  frames_known_ = frames;
  int64_t next_ns = keepalive_.time_ns;
  // Who has the receive role of a client waits for a call.
  const bool calls = stream_count() != 0 || (poller() == nullptr && role_taken_.load(std::memory_order_relaxed));
  if (!silent || (!keepalive_.without_calls && !calls)) {
    asked_ = false;
  } else if (!std::exchange(asked_, true)) {
    SendControl({.type = FrameType::kPing});
    next_ns = keepalive_.timeout_ns;
  } else {
    given_up_.store(true, std::memory_order_relaxed);
    link_->Close(absl::UnavailableError("the peer does not answer: keepalive"));
    if (poller() != nullptr) return KickHolder();
    return EndOfLink();
  }
  runtime_->timers().Set(keepalive_timer_, MonotonicNs() + next_ns);
}

Connection::Verdict Connection::OnFrame(std::span<const std::byte> frame, bool /*untrusted*/) {
  frames_.store(frames_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  const char* error = nullptr;
  const std::optional<FrameHeader> header = DecodeHeader(frame, &error);
  if (!header.has_value()) return Verdict::kFault;
  std::span<const std::byte> rest = frame.subspan(kHeaderBytes);
  block_.clear();
  if (header->block_bytes != 0) {
    block_.resize(header->block_bytes);
    CopyBytes(reinterpret_cast<std::byte*>(block_.data()), rest.data(), header->block_bytes);
    rest = rest.subspan(header->block_bytes);
  }
  switch (header->type) {
    case FrameType::kHello: {
      HelloBody hello;
      if (rest.size() < sizeof(hello)) return Verdict::kFault;
      CopyBytes(reinterpret_cast<std::byte*>(&hello), rest.data(), sizeof(hello));
      if (link_->capabilities().passes_fds) {
        peer_pid_.store(hello.pid, std::memory_order_relaxed);
        peer_features_.store(hello.features, std::memory_order_release);
      }
      return OnHello(hello);
    }
    case FrameType::kCredit: {
      StreamPtr held;
      Stream* const stream = Find(header->stream, &held);
      if (stream == nullptr) return Verdict::kConsumed;  // over meanwhile
      if (!stream->OnCredit(header->number)) return Verdict::kFault;
      if (stream->lingering()) EraseWhenDrained(stream);
      return Verdict::kConsumed;
    }
    case FrameType::kPing:
      SendControl({.type = FrameType::kPong, .deadline = header->deadline});
      return Verdict::kConsumed;
    case FrameType::kPong:
      return Verdict::kConsumed;
    case FrameType::kGoaway:
      OnGoaway(header->number);
      return Verdict::kConsumed;
    case FrameType::kMemory:
    case FrameType::kMemoryGone:
    case FrameType::kMemoryRefused:
    case FrameType::kReturn:
      return OnMemoryFrame(*header) ? Verdict::kConsumed : Verdict::kFault;
    default:
      break;
  }
  if (header->fd_count == 0 && (header->flags & kRefers) == 0) [[likely]] return OnCallFrame(*header, block_, rest);
  return OnEscortedFrame(*header, rest);
}

Connection::Verdict Connection::OnEscortedFrame(const FrameHeader& header, std::span<const std::byte> payload) {
  why_lost_ = Status();
  if (header.fd_count != 0 && !TakeFrameFds(header)) return Verdict::kFault;
  const bool parts = (header.flags & kRefers) == 0 || TakeFrameParts(header);
  const Verdict verdict = parts ? OnCallFrame(header, block_, payload) : Verdict::kFault;
  // Of a call that is over, or never was.
  CloseElsewhere(std::exchange(frame_fds_, {}));
  frame_parts_.clear();
  return verdict;
}

void Connection::OnClosed() { CloseStreams(); }

void Connection::CloseStreams() {
  if (closed_.exchange(true, std::memory_order_acq_rel)) return;
  ForgetHangup();
  CloseMemory();
  const absl::Status why = link_->status();
  for (const StreamPtr& stream : AllStreams()) {
    // A peer that was given up may still come to it.
    if (!stream->over() && !given_up_.load(std::memory_order_relaxed) && NeverRan(*stream)) stream->NoteNotRun();
    stream->End(FromAbsl(why), {}, /*drop_unread=*/false);
  }
  OnLost(why);
}

// ---- messages by reference -------------------------------------------------------------------

bool Connection::TakesReferences() const { return link_->capabilities().passes_fds && FeatureAllowed("references"); }

std::shared_ptr<Lending> Connection::lending() {
  std::lock_guard lock(lending_mu_);
  if (lending_ == nullptr) {
    const uint64_t features = peer_features_.load(std::memory_order_acquire);
    lending_ = std::make_shared<Lending>(this, features, peer_pid_.load(std::memory_order_relaxed));
  }
  return lending_;
}

Connection::MemorySending Connection::SendMemory(uint32_t number, const MemoryBody& body, SharedFds fd) {
  std::string block;
  AppendEntry(block, EntryKind::kMemory, {}, {reinterpret_cast<const char*>(&body), sizeof(body)});
  FdsToSend fds(&fd);
  bool passed = true;
  const auto size = [&](uint32_t) { return static_cast<uint32_t>(kHeaderBytes + block.size()); };
  const auto fill = [&](std::byte* at, uint32_t) {
    FrameHeader header = {.type = FrameType::kMemory, .number = number, .block_bytes = static_cast<uint32_t>(block.size())};
    fds.Announce(header);
    passed = header.fd_sequence != 0;
    std::memcpy(at, &header, sizeof(header));
    std::memcpy(at + sizeof(header), block.data(), block.size());
  };
  if (SendFrame(Link::Class::kData, size, fill, &fds) != SendResult::kSent) return MemorySending::kNoSpace;
  return passed ? MemorySending::kSent : MemorySending::kRefused;
}

bool Connection::TakeFrameParts(const FrameHeader& header) {
  if (borrowing_ == nullptr) return false;
  switch (borrowing_->Resolve(block_, header.message_bytes, &frame_parts_)) {
    case Borrowing::Resolved::kOk:
      return true;
    case Borrowing::Resolved::kLost:
      why_lost_ = borrowing_->why_lost();
      return true;
    case Borrowing::Resolved::kFault:
      break;
  }
  return false;
}

bool Connection::OnMemoryFrame(const FrameHeader& header) {
  switch (header.type) {
    case FrameType::kMemory: {
      if (header.fd_count == 0 || (borrowing_ == nullptr && !TakesReferences()) || !TakeFrameFds(header)) return false;
      UniqueFd fd = frame_fds_.empty() ? UniqueFd() : std::move(frame_fds_.front());
      frame_fds_.clear();
      if (fd.valid() && fcntl(fd.get(), F_GET_SEALS) < 0) {
        // No memfd: to close it may take as long as the peer pleases.
        std::vector<UniqueFd> fds;
        fds.push_back(std::move(fd));
        CloseElsewhere(std::move(fds));
        return false;
      }
      if (borrowing_ == nullptr) borrowing_ = std::make_unique<Borrowing>(this, link_->trusts_peer());
      return borrowing_->OnMemory(header.number, block_, std::move(fd));
    }
    case FrameType::kMemoryGone:
      return borrowing_ != nullptr && borrowing_->OnMemoryGone(header.number);
    case FrameType::kMemoryRefused:
      return lending()->OnRefused(header.number);
    default:
      return lending()->OnReturn(header.number);
  }
}

// What came can still be read, and what was lent is the peer's as long as it may read it.
void Connection::CloseMemory() {
  if (borrowing_ != nullptr) borrowing_->Close();
  std::shared_ptr<Lending> lending;
  {
    std::lock_guard lock(lending_mu_);
    lending = lending_;
  }
  if (lending != nullptr) lending->Close();
}

// ---- the table of streams --------------------------------------------------------------------

// One that is over may have left the table.
Stream* Connection::Find(uint32_t id, StreamPtr* held) {
  if (led_ != nullptr && led_->id() == id && id != 0 && !led_->over()) return led_;
  std::lock_guard lock(table_mu_);
  *held = streams_.Find(id);
  return held->get();
}

Connection::Inserted Connection::TryInsert(StreamPtr stream) {
  std::lock_guard lock(table_mu_);
  const size_t others = streams_.size();
  return {streams_.Insert(std::move(stream)), others};
}

bool Connection::Erase(Stream& stream) {
  if (stream.unlisted_.load(std::memory_order_relaxed) && stream.unlisted_.exchange(false, std::memory_order_seq_cst)) return true;
  std::lock_guard lock(table_mu_);
  return streams_.Erase(stream);
}

void Connection::EraseFinished(Stream& stream) {
  if (stream.unlisted_.load(std::memory_order_relaxed)) {
    // Who cancels at this moment may think the same: then the server is told of a cancellation that comes too late.
    stream.unlisted_.store(false, std::memory_order_relaxed);
  } else {
    Erase(stream);
  }
}

// Listed first: who erases it meanwhile finds it at the one place or the other.
void Connection::List(Stream& stream) {
  TryInsert(&stream);  // no other has its number, see Lead()
  if (!stream.unlisted_.exchange(false, std::memory_order_seq_cst)) Erase(stream);
}

void Connection::EraseWhenDrained(Stream* stream) {
  stream->Linger();
  // Marked first: who sends the last of it after this look erases it.
  if (stream->Drained()) Erase(*stream);
}

std::vector<StreamPtr> Connection::AllStreams() {
  std::lock_guard lock(table_mu_);
  std::vector<StreamPtr> all;
  if (led_ != nullptr && led_->unlisted_.load(std::memory_order_relaxed)) all.emplace_back(led_);
  streams_.ForEach([&all](const StreamPtr& stream) { all.push_back(stream); });
  return all;
}

size_t Connection::stream_count() {
  std::lock_guard lock(table_mu_);
  return streams_.size();
}

}  // namespace ipcrpc::rpc
