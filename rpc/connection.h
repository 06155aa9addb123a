// A link with calls on it: what client and server have in common. It shares the link's two roles out among
// threads, takes frames apart, and finds the stream that each belongs to.
//
// The receive role belongs to a poller (server), or is borrowed by the threads that wait for their calls (client): the
// first leads, polls and sleeps on the link for all; the others follow, asleep on their own streams, and one of them
// takes over when the leader has what it waited for. tests/model/multi.pml is this hand-over. A thread that is going to wait
// leads from before its call begins, if it can (Lead()): what comes is for this call, which then need not be looked up. A
// client's connection goes over to a poller, for good, with the first call for which nobody waits: see ServeByPoller().
//
// Lock order: Stream::mu_, then Lending's and Borrowing's, then send_mu_ or waiters_mu_; the others stand alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ipcrpc/internal/mutex.h"
#include "rpc/frame.h"
#include "rpc/keepalive.h"
#include "rpc/memory/borrowing.h"
#include "rpc/memory/lending.h"
#include "rpc/stream.h"
#include "rpc/stream_table.h"
#include "transport/base/clock.h"
#include "transport/base/fork_guard.h"
#include "transport/base/queue.h"
#include "transport/base/spin.h"
#include "transport/runtime/io_runtime.h"

namespace ipcrpc::rpc {

// Whether deadlines can travel as times of CLOCK_MONOTONIC.
bool SharesClock(const HelloBody& peer);

// What contexts tell of the other end, also once the connection is gone.
struct Peer {
  std::string description;
  PeerCredentials credentials;
};

class Connection : public PollTarget {
 public:
  Connection(std::unique_ptr<Link> link, std::shared_ptr<IoRuntime> runtime);
  ~Connection() override;

  Link& link() final { return *link_; }
  const Link& link() const { return *link_; }
  // The link's.
  const std::shared_ptr<const Peer>& peer() const { return peer_; }
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  // False in a forked child of the process that made the connection: there it must not be used.
  bool ours() const { return fork_guard_.ours(); }

  // ---- sending, any thread -------------------------------------------------------------------

  enum class SendResult { kSent, kNoSpace };
  // Descriptors that a frame takes along; its `fill` announces them.
  class FdsToSend {
   public:
    explicit FdsToSend(const SharedFds* fds) : fds_(fds) {}
    size_t count() const { return fds_ == nullptr ? 0 : (*fds_)->size(); }
    void Announce(FrameHeader& header) const {
      if (fds_ == nullptr) [[likely]] return;
      header.fd_count = static_cast<uint8_t>(count());
      header.fd_sequence = parcel_;
    }

   private:
    friend class Connection;
    const SharedFds* const fds_;  // null: none
    uint32_t parcel_ = 0;
  };
  // One frame, in place: `size(max)` says how many bytes, given the most that a frame may have (0: too many),
  // then `fill(at, bytes)` writes them.
  template <typename Size, typename Fill>
  SendResult SendFrame(Link::Class frame_class, Size&& size, Fill&& fill, FdsToSend* fds = nullptr);
  // The same step by step: the frame in between is filled by the caller, who holds the send role meanwhile.
  class OpenFrame {
   public:
    std::byte* data() const { return at_; }

   private:
    friend class Connection;
    std::unique_lock<internal::Mutex> lock_;
    std::byte* at_ = nullptr;
    uint32_t bytes_ = 0;
  };
  template <typename Size>
  SendResult BeginFrame(OpenFrame& frame, Link::Class frame_class, Size&& size, FdsToSend* fds = nullptr);
  void PublishFrame(OpenFrame& frame) { CommitFrame(frame.lock_, frame.bytes_); }
  // A frame that is only a header; waits in a queue when there is no space.
  void SendControl(const FrameHeader& header);
  // Pump()s the stream when the link has space again.
  void PumpWhenSpace(Stream* stream);
  size_t waiting_for_space();
  // From the `fill` of a kBegin frame.
  uint32_t CountBegin() { return ++begins_sent_; }
  // Client: what could not be sent at once goes from the receive role, which nobody may hold any more when the caller
  // leaves. Then a worker holds it until all is sent.
  void DriveWhileUnsent();

  // ---- waiting, any thread -------------------------------------------------------------------

  // Blocks until `done()` (true) or the deadline (false). `done` looks at the state of `stream`, whose events make it
  // be asked again; a closed connection ends all streams, so `done` must be true for one that is over.
  template <typename Done>
  bool WaitUntil(Stream& stream, Done&& done, int64_t deadline_ns);
  // Client: ends a Lead() after which nobody waits.
  void StopLeading(Stream& stream);
  // Makes the holder of the receive role look at the link, or at what it waits for.
  void KickHolder();
  // Client, before a call on a connection that was idle, and between writes: takes note of what the server has said meanwhile.
  void CatchUp();

  // ---- for calls that nobody waits for -------------------------------------------------------

  // Client: gives the receive role to a poller, or has its holder do so.
  void ServeByPoller();
  // Null as long as threads that wait share the receive role.
  Poller* poller() const { return poller_.load(std::memory_order_acquire); }
  // Ends the call by OnDeadline() when it is not over by then.
  void WatchDeadline(const StreamPtr& stream, int64_t deadline_ns);
  IoRuntime& runtime() const { return *runtime_; }

  // ---- descriptors, by the holder of the receive role, for the frame at hand ------------------

  // OK, or why descriptors that it announces, or parts that it refers to, are not to be had: the call that it belongs to ends with that.
  const Status& why_lost() const { return why_lost_; }
  std::vector<UniqueFd> ReleaseFrameFds() { return std::move(frame_fds_); }
  std::unique_ptr<UnreadFds> MakeUnreadFds() { return std::make_unique<UnreadFds>(unread_fds_); }

  // ---- messages by reference, see rpc/memory/ -------------------------------------------------

  // Null: the message is to be sent as it is. Any thread, with the stream's lock.
  std::optional<LentMessage> Lend(std::span<const Slice> slices) {
    if ((peer_features_.load(std::memory_order_relaxed) & kTakesReferences) == 0 || closed() || !Lending::MayRefer(slices)) return std::nullopt;
    return lending()->Lend(slices);
  }
  enum class MemorySending {
    kSent,
    kNoSpace,  // not now
    kRefused,  // the kernel does not pass the descriptor, which the peer is told
  };
  MemorySending SendMemory(uint32_t number, const MemoryBody& body, SharedFds fd);
  // In the receive role, of the frame at hand.
  const BorrowedParts& frame_parts() const { return frame_parts_; }
  BorrowedParts ReleaseFrameParts() { return std::exchange(frame_parts_, {}); }

  // ---- PollTarget, FrameSink -----------------------------------------------------------------

  void OnAttach(Poller* poller) final { poller_.store(poller, std::memory_order_release); }
  Verdict OnFrame(std::span<const std::byte> frame, bool untrusted) final;
  void OnSpace() final;
  void OnClosed() final;

 protected:
  // What OnFrame() leaves to client and server. `block` is private memory, `payload` may change.
  virtual Verdict OnCallFrame(const FrameHeader& header, std::string_view block, std::span<const std::byte> payload) = 0;
  virtual Verdict OnHello(const HelloBody& hello) = 0;
  virtual void OnGoaway(uint32_t taken) = 0;
  // Of a stream that was open when the link closed: its call never ran.
  virtual bool NeverRan(const Stream&) const { return false; }
  // The link is closed, every stream has ended. Once.
  virtual void OnLost(const absl::Status& why) = 0;
  virtual void OnDeadline(const StreamPtr& stream) = 0;

  void SendHello(uint32_t max_streams);

  // In the receive role. `held` keeps what it finds, where that is needed.
  Stream* Find(uint32_t id, StreamPtr* held);
  // Of a call that is over here. False: it has left already.
  bool Erase(Stream& stream);
  // The same in the receive role, of one that the other side has ended.
  void EraseFinished(Stream& stream);
  // A client in the receive role.
  std::vector<StreamPtr> AllStreams();
  size_t stream_count();
  struct Inserted {
    bool done;      // false: there is a stream of that number
    size_t others;  // streams that there are beside it
  };
  Inserted TryInsert(StreamPtr stream);
  // Client: has this thread, which is about to begin this call and to wait for it, take the receive role. Then the call is in
  // no table until the thread leaves the role. False: somebody else has it.
  bool Lead(Stream& stream);
  // A stream whose call is over here stays until what it has to send is on its way.
  void EraseWhenDrained(Stream* stream);

  // Hang-ups are seen by the runtime's housekeeping thread, and dealt with there when nobody else looks at the link.
  void WatchHangup();
  // Who closes the link himself need not be told of it.
  void ForgetHangup();
  // Nothing more will come, though nobody may be looking: streams end.
  void EndOfLink();
  // From now on a silent peer is asked whether it lives.
  void StartKeepalive(const Keepalive& keepalive);

 private:
  static constexpr int kFramesPerTurn = 64;

  template <typename Done>
  bool PollUntil(Done&& done, int64_t deadline_ns);
  Link::Progress PollLink(int frames);
  void List(Stream& stream);
  bool TryTakeRole() { return !role_taken_.exchange(true, std::memory_order_seq_cst); }
  void LeaveRole();
  bool TurnIsOver(uint64_t now);
  void OfferRole();
  void GiveRoleToPoller();
  void SetDeadlineTimer(int64_t when_ns);
  void ExpireStreams();
  void KeepAlive();
  // Looks at the link, if nobody holds the role.
  void LookAround();
  // Takes the role, if it is free, and reads the link of a peer that has hung up to its end.
  void ReadToEnd();
  bool Unsent();
  void Drive();
  void Follow(Stream& stream, uint32_t events, int64_t deadline_ns);
  bool FlushOutbox();
  // In the send role; null: there is no space.
  template <typename Size>
  std::byte* ReserveFrame(Link::Class frame_class, Size& size, FdsToSend* fds, uint32_t* bytes);
  void CommitFrame(std::unique_lock<internal::Mutex>& lock, uint32_t bytes);
  bool SendFds(FdsToSend& fds);  // false: there is no space
  bool TakeFrameFds(const FrameHeader& header);
  bool TakeFrameParts(const FrameHeader& header);
  Verdict OnEscortedFrame(const FrameHeader& header, std::span<const std::byte> payload);
  bool OnMemoryFrame(const FrameHeader& header);
  bool TakesReferences() const;  // as our hello says
  std::shared_ptr<Lending> lending();
  void CloseMemory();
  void CloseStreams();

  const std::unique_ptr<Link> link_;
  const std::shared_ptr<const Peer> peer_;
  const std::shared_ptr<IoRuntime> runtime_;
  const ForkGuard fork_guard_;
  std::atomic<Poller*> poller_{nullptr};  // constant once attached
  std::atomic<bool> wants_poller_{false};
  std::atomic<uint64_t> hangup_watch_{0};

  // receive role
  std::atomic<bool> role_taken_{false};
  std::atomic<bool> hung_up_{false};  // the peer: who leaves the role reads to the end
  std::atomic<bool> driving_{false};  // a worker is in Drive()
  Stream* led_ = nullptr;  // whose thread leads; what comes for it need not be looked up
  std::string block_;      // of the frame at hand, as the next two
  std::vector<UniqueFd> frame_fds_;
  BorrowedParts frame_parts_;
  Status why_lost_;
  std::unique_ptr<Borrowing> borrowing_;  // made with the first memory that is shown
  std::shared_ptr<std::atomic<uint32_t>> unread_fds_;  // of all streams; made by the first

  internal::Mutex send_mu_;  // the send role, and:
  uint32_t begins_sent_ = 0;
  uint32_t parcels_sent_ = 0;
  Queue<std::string> outbox_;
  std::atomic<bool> outbox_waits_{false};

  std::atomic<uint64_t> peer_features_{0};  // of its hello, as the next
  std::atomic<uint32_t> peer_pid_{0};
  internal::Mutex lending_mu_;
  std::shared_ptr<Lending> lending_;  // made with the first message that may refer to memory

  internal::Mutex waiters_mu_;
  std::vector<StreamPtr> space_waiters_;

  internal::Mutex followers_mu_;
  std::vector<Stream*> followers_;
  std::atomic<size_t> follower_count_{0};

  internal::Mutex table_mu_;
  StreamTable streams_;

  std::mutex deadline_mu_;
  uint64_t deadline_timer_ = 0;
  std::atomic<int64_t> next_deadline_ns_{kNoDeadline};  // the timer's; set under deadline_mu_

  // The timer's, on the housekeeping thread.
  Keepalive keepalive_;
  uint64_t keepalive_timer_ = 0;
  uint64_t frames_known_ = 0;
  bool asked_ = false;
  std::atomic<bool> given_up_{false};

  std::atomic<uint64_t> frames_{0};  // that came; written in the receive role
  std::atomic<bool> closed_{false};
  std::atomic<uint64_t> left_ticks_{0};  // when the role was left last
  const void* leader_ = nullptr;         // receive role: the thread whose turn it is, and since when
  uint64_t turn_began_ticks_ = 0;
};

template <typename Size>
inline std::byte* Connection::ReserveFrame(Link::Class frame_class, Size& size, FdsToSend* fds, uint32_t* bytes) {
  if (!outbox_.empty() && !FlushOutbox()) return nullptr;
  *bytes = size(link_->max_frame_bytes());
  if (*bytes == 0) return nullptr;
  std::byte* const at = link_->Reserve(*bytes, frame_class);
  if (at == nullptr) return nullptr;
  if (fds != nullptr && fds->fds_ != nullptr && !SendFds(*fds)) [[unlikely]] return nullptr;
  return at;
}

inline void Connection::CommitFrame(std::unique_lock<internal::Mutex>& lock, uint32_t bytes) {
  link_->Commit(bytes);
  link_->Flush();
  lock.unlock();
  // What the link could not send at once goes when it is writable, which its poller must watch for.
  if (Poller* by = poller(); by != nullptr && link_->wants_write()) by->Kick(this);
}

template <typename Size, typename Fill>
Connection::SendResult Connection::SendFrame(Link::Class frame_class, Size&& size, Fill&& fill, FdsToSend* fds) {
  std::unique_lock lock(send_mu_);
  uint32_t bytes;
  std::byte* const at = ReserveFrame(frame_class, size, fds, &bytes);
  if (at == nullptr) return SendResult::kNoSpace;
  fill(at, bytes);
  CommitFrame(lock, bytes);
  return SendResult::kSent;
}

template <typename Size>
Connection::SendResult Connection::BeginFrame(OpenFrame& frame, Link::Class frame_class, Size&& size, FdsToSend* fds) {
  std::unique_lock lock(send_mu_);
  frame.at_ = ReserveFrame(frame_class, size, fds, &frame.bytes_);
  if (frame.at_ == nullptr) return SendResult::kNoSpace;
  frame.lock_ = std::move(lock);
  return SendResult::kSent;
}

template <typename Done>
bool Connection::WaitUntil(Stream& stream, Done&& done, int64_t deadline_ns) {
  const auto expired = [deadline_ns] { return deadline_ns != kNoDeadline && MonotonicNs() >= deadline_ns; };
  for (;;) {
    const uint32_t events = stream.events();
    if (done()) return true;
    if (poller() != nullptr) {
      if (expired()) return false;
      stream.SleepUnless(events, deadline_ns);
      continue;
    }
    if (stream.leads_ || TryTakeRole()) {
      led_ = &stream;
      const bool ready = PollUntil(done, deadline_ns);
      StopLeading(stream);
      if (!ready && !expired()) continue;  // a poller takes over
      return ready;
    }
    Follow(stream, events, deadline_ns);
    const bool ready = done();
    if (!ready && !expired()) continue;
    // The lead may have been offered to this thread, which goes.
    if (!role_taken_.load(std::memory_order_seq_cst)) OfferRole();
    return ready;
  }
}

template <typename Done>
bool Connection::PollUntil(Done&& done, int64_t deadline_ns) {
  // Where a look costs a system call the first one is Wait()'s.
  if (!link_->cheap_to_poll()) link_->Wait(deadline_ns);
  // After a pause one frame, which may be what this waits for: to look for the next one costs a cache miss.
  int frames = 1;
  for (;;) {
    const Link::Progress progress = PollLink(frames);
    served_company = false;  // they will have their turn
    if (progress == Link::Progress::kClosed) CloseStreams();
    if (done()) return true;
    frames = progress == Link::Progress::kFrames ? kFramesPerTurn : 1;
    if (wants_poller_.load(std::memory_order_relaxed)) return false;
    if (progress == Link::Progress::kFrames) continue;
    if (deadline_ns != kNoDeadline && MonotonicNs() >= deadline_ns) return false;
    link_->Wait(deadline_ns);
  }
}

}  // namespace ipcrpc::rpc
