// One call on one connection: the same half for client and server. What comes in waits here to be read, what goes
// out waits here for credit and space.
//
//   who                     does
//   receive role            OnMessage, OnCredit, OnInitial, OnHalfClose, End
//   one reading thread      Take
//   any thread              Send, and everything else
#pragma once

#include <atomic>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ipcrpc/internal/call.h"
#include "ipcrpc/internal/mutex.h"
#include "ipcrpc/status.h"
#include "rpc/buffer.h"
#include "rpc/cancel_target.h"
#include "rpc/frame.h"
#include "rpc/memory/lending.h"
#include "rpc/memory/received_message.h"
#include "rpc/message_fds.h"
#include "rpc/recycled.h"

namespace ipcrpc::rpc {

class Connection;

// Told of everything that happens to a stream, for those who do not sleep on it.
class StreamObserver {
 public:
  // With the stream's lock held: takes note, and leaves the rest to a task.
  virtual void OnStreamEvent() = 0;

 protected:
  ~StreamObserver() = default;
};

// A frame to send, but for its message.
struct OutFrame {
  FrameType type;
  uint8_t flags = 0;
  uint32_t number = 0;
  uint64_t deadline = 0;
  std::string_view block = {};
  const SharedFds* fds = nullptr;  // that go with the message
  LentMessage* lent = nullptr;     // of which the message is what is not referred to
};

class Stream;
using StreamPtr = boost::intrusive_ptr<Stream>;

class Stream final : public Recycled<Stream> {
 public:
  // The connection outlives the stream's last use of it: whoever uses a stream holds the connection too.
  static StreamPtr Make(Connection* connection, uint32_t id, int64_t max_receive_bytes) {
    return StreamPtr(new Stream(connection, id, max_receive_bytes), /*add_ref=*/false);
  }

  uint32_t id() const { return id_; }
  // Of the thread that began it: see Connection::Lead().
  bool leads() const { return leads_; }

  // ---- out ---------------------------------------------------------------------------------

  enum class Sending {
    kDone,    // it is the link's
    kQueued,  // it was copied, and goes as soon as there is credit and space: see Drained()
    kClosed,  // the call is over, or was closed to sending
  };
  // Sends a frame, with a message if given: at once and in place if there is credit and space and nothing waits. Never
  // blocks.
  Sending Send(const OutFrame& frame, const internal::OutgoingMessage* message);
  // The last frame of the call, behind what waits: nothing can be sent after it. kClosed when the call is over or has
  // had its last frame.
  Sending SendLast(const OutFrame& frame, const internal::OutgoingMessage* message);
  // Ends the call with a last frame that goes instead of what waits, unless one was sent. For the reader and the
  // writer here it is over with `status`, and what was not read is dropped.
  void Abort(const OutFrame& last, Status status);
  // Something of it was sent, so the peer knows the call.
  bool Published() const;
  // Client: which of the connection's calls it was, counted from 1 in the order in which they were sent. 0: it was not.
  uint32_t begin_order() const;
  // Everything that Send() took is on its way, or never will be.
  bool Drained() const;
  // Its last frame is on its way, so that nothing more comes of it.
  bool SentItsLast() const;
  // The call is over here and only sends what waits: see Connection::EraseWhenDrained().
  void Linger() { lingering_.store(true, std::memory_order_seq_cst); }
  bool lingering() const { return lingering_.load(std::memory_order_seq_cst); }
  // Space or credit came: sends what waits. By any thread.
  void Pump();

  // ---- in, by the holder of the receive role -------------------------------------------------

  enum class Arrival { kOk, kTooLarge, kLost, kFault };
  // The message, or its first chunk, that comes with the begin of a call, of which nobody else has heard yet.
  Arrival OnFirstMessage(const FrameHeader& header, std::span<const std::byte> payload) { return TakeIn(header, payload); }
  // A chunk of a message, in memory that may change.
  Arrival OnMessage(const FrameHeader& header, std::span<const std::byte> payload);
  // The same, and behind it the end of the call as End() does it.
  Arrival OnMessageAndEnd(const FrameHeader& header, std::span<const std::byte> payload, Status status, std::string_view trailing_block);
  bool OnCredit(uint32_t bytes);  // false: absurd
  // `notify`: false when what follows at once does. `alone`: the frame brings nothing else but the end of the call.
  void OnInitial(std::string_view block, bool notify, bool alone);
  void OnHalfClose();
  // The call is over, with this status; the first one counts. `drop_unread` throws away what was not read. What waits to
  // be sent is dropped, but for the frame of SendLast().
  void End(Status status, std::string_view trailing_block, bool drop_unread);
  // The call ends, or will at once, without a handler having seen it.
  void NoteNotRun() { not_run_.store(true, std::memory_order_release); }
  // Ends a call of which nothing is sent, as one that did not run. False: its begin waits to be sent.
  bool EndUnbegun(Status status);
  // Cancels `target` when the call ends, at once when it has. Replaces the one before.
  void CancelAtEnd(std::shared_ptr<internal::CancelTarget> target);

  // ---- in, by the reader ---------------------------------------------------------------------

  // The next message, its own bytes borrowed until the next Take(); nullopt when none is complete.
  std::optional<ReceivedMessage> Take();
  // Its size, without taking it.
  std::optional<uint32_t> NextSize();
  // The descriptors that came with the message taken last, once. Those that nobody takes are closed.
  std::vector<UniqueFd> TakeFds();
  // Whether a message had some. After Take().
  bool fds_came() const { return fds_came_.load(std::memory_order_relaxed); }

  // ---- state, any thread ---------------------------------------------------------------------

  bool MessageReady() const;
  bool NoMoreMessages() const;  // none is left and none will come
  bool over() const { return over_.load(std::memory_order_acquire); }
  bool initial_seen() const { return initial_seen_.load(std::memory_order_acquire); }
  // After initial_seen().
  bool initial_alone() const { return initial_alone_; }
  bool half_closed() const { return half_closed_.load(std::memory_order_acquire); }
  // After over(): no handler has seen the call, so that it may be made again.
  bool not_run() const { return not_run_.load(std::memory_order_acquire); }
  // After over(), as are the next two; OK before.
  Status status() const;
  bool ok() const { return !over() || status_.ok(); }
  // When it was over, CLOCK_MONOTONIC; only kept when not with OK.
  int64_t failed_at_ns() const;
  // The reader's, once each: after initial_seen(), after over().
  void TakeInitialBlock(std::string& into);
  void TakeTrailingBlock(std::string& into);

  // A reader waits: the peer is always granted its next frame.
  void GrantForReader();

  // ---- without waiting -----------------------------------------------------------------------

  // The one who is told, at once of what there is, and from now on; or none: after it returns nobody is told any more.
  void Observe(StreamObserver* observer) {
    std::lock_guard lock(mu_);
    observer_ = observer;
    if (observer != nullptr) observer->OnStreamEvent();
  }
  // Runs `look` as OnStreamEvent() does: nothing happens meanwhile.
  template <typename Look>
  void Locked(Look&& look) {
    std::lock_guard lock(mu_);
    look();
  }
  // Drained(), with the lock held.
  bool DrainedLocked() const { return out_.empty(); }

  // When Connection::WatchDeadline() ends the call.
  int64_t expires_ns() const { return expires_ns_.load(std::memory_order_seq_cst); }

  // ---- waiting: see Connection::WaitUntil ----------------------------------------------------

  uint32_t events() const { return events_.load(std::memory_order_acquire); }
  void SleepUnless(uint32_t events, int64_t deadline_ns);
  // Has those who sleep look again.
  void Wake();

 private:
  struct OutItem {
    FrameType type;
    uint8_t flags;
    uint32_t number;
    uint64_t deadline;
    std::string block;
    bool has_message;
    size_t message_bytes;
    Buffer message;  // its bytes from `written` on; those before were written where they travel
    SharedFds fds;
    std::optional<LentMessage> lent;
    size_t written = 0;
    size_t sent = 0;
    bool begun = false;
  };
  class Chunk;
  class Pieces;
  enum Escorts : uint32_t { kWithFds = 1, kWithParts = 2 };
  static uint32_t EscortsOf(const FrameHeader& header) {
    return (header.fd_count != 0 ? kWithFds : 0u) | ((header.flags & kRefers) != 0 ? kWithParts : 0u);
  }
  // In front of each message in the inbox.
  struct MessageMark {
    uint32_t size;  // without what it refers to
    uint32_t escorts;
    int64_t cost;  // of all its frames, due when it is read
  };

  Stream(Connection* connection, uint32_t id, int64_t max_receive_bytes)
      : connection_(connection), id_(id), max_receive_bytes_(max_receive_bytes) {}

  friend void intrusive_ptr_add_ref(const Stream* stream) noexcept { stream->references_.fetch_add(1, std::memory_order_relaxed); }
  friend void intrusive_ptr_release(const Stream* stream) noexcept {
    // Nobody can copy the only one but who has it.
    if (stream->references_.load(std::memory_order_acquire) == 1 || stream->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete stream;
    }
  }

  // With the lock, once there is anybody else.
  Arrival TakeIn(const FrameHeader& header, std::span<const std::byte> payload);
  // Over from now on; the caller cancels what it returns, once it holds no lock.
  [[nodiscard]] std::shared_ptr<internal::CancelTarget> EndLocked(Status status, std::string_view trailing_block,
                                                                 bool drop_unread);

  bool SendLent(const OutFrame& frame, const internal::OutgoingMessage& message);
  inline void SendLocked(const OutFrame& frame, const internal::OutgoingMessage* message);
  void SendLastLocked(const OutFrame& frame, const internal::OutgoingMessage* message);

  enum class Sent { kDone, kLater };
  Sent TryWhole(const OutFrame& frame, const internal::OutgoingMessage* message, size_t message_bytes);
  void Enqueue(const OutFrame& frame, const internal::OutgoingMessage* message, size_t message_bytes);
  bool GoesInPieces(const internal::OutgoingMessage& message, size_t message_bytes) const;
  bool HasCredit(const OutItem& item) const;
  Sent SendChunk(OutItem& item);
  void PumpLocked();
  void NotifyLocked();
  bool Refill();
  bool Unread() const { return arrived_.load(std::memory_order_acquire) != read_.load(std::memory_order_relaxed); }
  std::optional<MessageMark> NextMark();  // of the next message; nullopt when none is complete
  void TakeEscorts(const FrameHeader& header);
  void NextFds(bool has_some);
  std::unique_ptr<BorrowedParts> NextParts();
  size_t NextPartsBytes();
  void GrantLocked(bool reader_waits);

  Connection* const connection_;
  const uint32_t id_;
  const int64_t max_receive_bytes_;

  mutable internal::Mutex mu_;  // of what follows, down to the atomics

  // out
  int64_t credit_ = kInitialCredit;
  bool out_closed_ = false;  // nothing more is taken
  bool published_ = false;
  uint32_t begin_order_ = 0;
  bool last_taken_ = false;  // SendLast() was called: what is in out_ goes even when the call is over
  std::list<OutItem> out_;

  StreamObserver* observer_ = nullptr;

  // in
  Buffer inbox_;              // marks and messages, the last one perhaps incomplete
  size_t complete_bytes_ = 0; // of the inbox: whole messages
  size_t current_mark_ = 0;   // where the message being assembled began
  uint64_t current_left_ = 0; // bytes it still lacks
  int64_t current_cost_ = 0;  // of its frames so far
  bool assembling_ = false;
  int64_t received_cost_ = 0, consumed_cost_ = 0, granted_cost_ = kInitialCredit;
  int64_t window_ = kInitialCredit;
  std::shared_ptr<internal::CancelTarget> at_end_;
  std::unique_ptr<UnreadFds> fds_;  // made by the first
  std::unique_ptr<std::deque<std::unique_ptr<BorrowedParts>>> parts_;  // of messages that are not taken yet; made by the first

  // Handed to the reader by a flag below, whose release pairs with the reader's acquire.
  std::string initial_block_;              // these by initial_seen_
  bool initial_alone_ = false;
  std::string trailing_block_;             // these by over_, which is set under mu_
  Status status_;
  int64_t failed_at_ns_ = 0;

  // the reader's
  Buffer taken_;
  Buffer* taking_ = &taken_;  // or the inbox, once nothing more comes into that
  size_t taken_at_ = 0;
  size_t taken_complete_ = 0;
  int64_t unreported_cost_ = 0;
  bool taken_has_fds_ = false;

  // Messages, complete: that came, counted in the receive role; that were taken, counted by the reader.
  std::atomic<uint32_t> arrived_{0};
  std::atomic<uint32_t> read_{0};
  std::atomic<bool> over_{false};
  std::atomic<bool> dropped_{false};  // what is unread is thrown away
  std::atomic<bool> initial_seen_{false};
  std::atomic<bool> half_closed_{false};
  std::atomic<bool> anything_received_{false};
  std::atomic<bool> fds_came_{false};
  std::atomic<bool> lingering_{false};
  std::atomic<bool> not_run_{false};
  std::atomic<uint32_t> events_{0};  // futex word
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<uint32_t> patient_{0};  // who wait without sleeping

  mutable std::atomic<uint32_t> references_{1};

  friend class Connection;
  // A client's call whose thread holds the receive role since before it began: see Connection::Lead().
  bool leads_ = false;                  // that thread's
  std::atomic<bool> unlisted_{false};  // is in no table, as nobody but the leader need find it
  std::atomic<int64_t> expires_ns_{std::numeric_limits<int64_t>::max()};
  bool waits_for_space_ = false;  // is in the connection's list; under its waiters_mu_
};

}  // namespace ipcrpc::rpc
