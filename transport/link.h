// The transport contract: a link is one end of a connected pair that carries frames, bounded byte
// records, both ways, reliably and in order. It is all that rpc/ knows of a mechanism.
//
// Two roles, each held by one thread at a time. The caller serialises them (rpc/ has a lock for
// each); a link has no lock of its own.
//   send role     Reserve, SendFds, Commit, Flush
//   receive role  Poll, TakeFds, DropFds, Wait, BeginSleep, EndSleep, OnEvent
// Everything else may be called by any thread at any time.
#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/base/fd.h"
#include "transport/peer.h"

namespace ipcrpc {

// What a mechanism can do; a constant of the scheme.
struct Capabilities {
  uint32_t max_frame_bytes = 0;  // the most that Link::max_frame_bytes() ever says; longer messages travel in pieces
  bool in_place = false;       // frames are written and read where they travel, without a copy
  bool passes_fds = false;     // file descriptors can go with a frame
  bool credentials = false;    // the kernel vouches for the peer's uid
  bool pollable = true;        // event_fd() can sit in an epoll
  bool detects_death = false;  // the kernel tells at once when the peer is gone
  bool many_connections = true;  // an address is good for any number of links, not for one alone
};

// Who gets what arrives on a link. Called by the holder of the receive role, from Poll().
class FrameSink {
 public:
  enum class Verdict {
    kConsumed,  // done with it; the memory is the link's again
    kHold,      // not now: deliver the same frame again at the next Poll()
    kFault,     // the peer broke the protocol; close
  };
  virtual ~FrameSink() = default;

  // One frame. `frame` is borrowed for the length of the call. When `untrusted`, it is memory that
  // the peer may change meanwhile: read every byte at most once, copy before parsing.
  virtual Verdict OnFrame(std::span<const std::byte> frame, bool untrusted) = 0;

  // A Reserve() that had failed would find room now.
  virtual void OnSpace() = 0;
};

class Link {
 public:
  virtual ~Link() = default;  // closes

  virtual const Capabilities& capabilities() const = 0;
  virtual const PeerIdentity& peer() const = 0;
  // "shm:/run/ipcrpc/monitor.shm", for messages and logs.
  virtual const std::string& description() const = 0;

  // ---- send role ---------------------------------------------------------------------------

  // What a frame may be used for: control frames may use a reserve that data frames leave free, so
  // that full links do not deadlock each other.
  enum class Class { kData, kControl };

  // The largest frame that Reserve() takes now. It may grow while the link lives, never shrink
  // below its first value.
  virtual uint32_t max_frame_bytes() const = 0;

  // Room for a frame of `size` bytes (1 … max_frame_bytes()), 8-byte aligned, or null when there is none now; then
  // FrameSink::OnSpace() follows once there is, if the holder of the receive role is made to look
  // (Kick()). On a closed link the room is a scratch buffer that goes nowhere. A reservation that
  // is not committed is forgotten at the next Reserve().
  virtual std::byte* Reserve(uint32_t size, Class frame_class) = 0;

  // Where capabilities().passes_fds, between Reserve() and Commit(): these descriptors, 1 … kMaxFdsPerMessage of them, go
  // with the reserved frame. They stay the caller's. `parcel` counts such frames of this end, by ParcelAfter(): the frame
  // has to say it, and how many they are, so that its receiver can TakeFds(). Makes system calls. After kSent Commit() of
  // the whole reservation has to follow; after kNoSpace there is no reservation any more.
  enum class FdSending {
    kSent,
    kNoSpace,  // not now: as when Reserve() returns null
    kRefused,  // the kernel does not pass them; errno says why (ETOOMANYREFS: too many of the user's are on their way)
  };
  virtual FdSending SendFds(uint32_t parcel, std::span<const UniqueFd> fds);

  // Publishes the reserved frame, of which `size` bytes count. A peer that is awake may see it at
  // once; one that sleeps is woken by Flush().
  virtual void Commit(uint32_t size) = 0;

  // Wakes the peer if it sleeps: one wake for any number of commits. Never blocks.
  virtual void Flush() = 0;

  // ---- receive role ------------------------------------------------------------------------

  enum class Progress {
    kIdle,    // nothing was there
    kFrames,  // frames were delivered (up to the budget: there may be more)
    kHeld,    // the sink held the next frame
    kClosed,  // everything that had arrived is delivered, and nothing more will: see status()
  };

  // Delivers up to `max_frames` frames to `sink`, and OnSpace() when due. Never blocks.
  virtual Progress Poll(FrameSink& sink, int max_frames) = 0;

  // From FrameSink::OnFrame(), for a frame that says that so many descriptors go with it, as that parcel: close-on-exec. By
  // the time that a frame is delivered its descriptors have come, so this never waits.
  // RESOURCE_EXHAUSTED: the process is at its limit of open files, and they are lost; FAILED_PRECONDITION: such a link
  // carries none. The link goes on. INVALID_ARGUMENT: the peer lies, and the frame is a fault.
  virtual absl::StatusOr<std::vector<UniqueFd>> TakeFds(uint32_t parcel, size_t count);
  // For who delivers frames without knowing what they say: closes those that came and were not taken.
  virtual void DropFds() {}

  // Blocks the calling thread until Poll() may have something to do, Kick() is called or was since
  // the last Wait() began, or `deadline_ns` (CLOCK_MONOTONIC, kNoDeadline) has passed. May return early.
  // Spins or yields first where that pays. True when it slept, that is made a system call to wait.
  virtual bool Wait(int64_t deadline_ns) = 0;

  // For a poller with several links. event_fd() goes into its epoll, level-triggered, with
  // EPOLLIN | EPOLLRDHUP, and EPOLLOUT while wants_write(). Before it sleeps there, BeginSleep() on
  // each link: false means that Poll() has something to do, and there is no need for EndSleep().
  // After waking EndSleep() on each, and OnEvent() on those that epoll reported.
  virtual int event_fd() const = 0;
  virtual bool wants_write() const = 0;
  virtual bool BeginSleep() = 0;
  virtual void EndSleep() = 0;
  virtual void OnEvent(uint32_t epoll_events) = 0;

  // True when an idle Poll() costs a memory access, so that a poller may spin over it; false when it
  // costs a system call.
  virtual bool cheap_to_poll() const = 0;

  // True when a poller that has this link alone does better to sleep in its Wait() than in an epoll.
  virtual bool prefers_wait() const { return cheap_to_poll(); }

  // False where the address asks that nobody spins.
  virtual bool may_spin() const { return true; }

  // Whether the address asks to rely on the peer (trust=peer): it does not change what it has lent while it is read.
  virtual bool trusts_peer() const { return false; }

  // After a Reserve() that failed: whether to look for room some more, as the peer may be reading on another processor, is
  // cheaper than to go away and come back.
  virtual bool worth_a_spin_for_space() const { return false; }

  // The processor where the peer polled last, -1 unknown. A hint.
  virtual int peer_cpu() const { return -1; }

  // What tells that the peer has gone while nobody holds the receive role: a descriptor, and the events of
  // poll() to ask it for. When it is ready PeerHungUp() says whether the peer has gone, or nothing
  // happened yet and the descriptor is to be watched on. A constant of the link.
  struct HangupSource {
    int fd;
    uint32_t events;
  };
  virtual HangupSource hangup() const { return {.fd = event_fd(), .events = EPOLLRDHUP}; }

  // ---- any thread --------------------------------------------------------------------------

  virtual bool PeerHungUp() { return true; }

  // Ends the present, or else the next, Wait() of the holder of the receive role.
  virtual void Kick() = 0;

  // The peer is seen to be gone (by whoever watches hangup()): what it had sent is still
  // delivered, then Poll() says kClosed with UNAVAILABLE. Kicks.
  virtual void NotePeerGone() = 0;

  // Closes both directions: the peer sees a hang-up after having read what was sent; the own Poll() says
  // kClosed with `why` from now on. Idempotent, the first reason stays. Kicks.
  virtual void Close(absl::Status why) = 0;

  // OK while open; after Poll() said kClosed, why.
  virtual absl::Status status() const = 0;
};

// Accepts links on one address. Driven by whoever watches fd(); no thread of its own.
class Listener {
 public:
  virtual ~Listener() = default;  // stops listening and removes the name
  virtual const Address& address() const = 0;
  // Readable when OnReadable() has something to do. May be an epoll of several descriptors.
  virtual int fd() const = 0;
  // Takes what is pending: `on_link` gets each link that is complete. Never blocks; a peer that is
  // slow or wrong in its handshake delays nobody and is dropped after a time.
  virtual void OnReadable(const std::function<void(std::unique_ptr<Link>)>& on_link) = 0;
  // No link will come any more, and fd() stays silent: the address was good for one alone. Asked after OnReadable().
  virtual bool exhausted() const { return false; }

  // Takes nobody new from now on. True when fd() need not be watched any more; false while somebody who came before is
  // in a handshake: ask again. By any thread.
  virtual bool Retire() { return true; }

  // ---- hot restart, see transport/takeover/: a scheme whose addresses cannot be handed over leaves these alone ----

  // What a successor needs to listen here as we do, for its Scheme::adopt. Borrowed. Empty: it cannot be handed over.
  virtual std::vector<int> handles() const { return {}; }
  // Of a listener that was adopted: the address is ours, in everything that tells who listens. Also to say so again when
  // a successor said it and failed.
  virtual absl::Status Own() { return absl::OkStatus(); }
  // The address is a successor's: it stays when this goes.
  virtual void Abandon() {}
};

}  // namespace ipcrpc
