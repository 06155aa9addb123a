// The byte-stream family of links: frames over a pair of descriptors, one socket, or a pair of message queues (see
// medium.h). A scheme adds its rendezvous, its capabilities and the peer's identity.
//
// Frames are read into a private buffer, so what is delivered is trusted not to change. Frames to send gather
// in another one: Flush() gives the kernel what it takes, the rest goes from Poll() once the descriptor is
// writable (wants_write()). Both ends may write at once without reading and none blocks the other for
// ever: what does not fit waits here, and Reserve() fails before that is too much.
//
// Beyond the contract of Link:
// - Poll() that has just read less than there was room for says kIdle once without asking the kernel; Wait(),
//   or an epoll, asks it. So a round trip is one send, one poll, one receive; where the process may run on one
//   processor only, Wait() gives that away before it sleeps, and it is one send, one yield, one receive.
// - A poller asleep in an epoll of its own is not reached by Kick(), as Link says; it has to look again
//   when another thread's Flush() made wants_write() true, or else the rest waits for the next event.
// - After kHeld, Wait() does not look at the descriptor but returns within a millisecond to try again.
// - Close() gives the kernel what it takes at once; what it does not take is lost. Who must not lose it waits
//   until wants_write() is false.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "ipcrpc/internal/mutex.h"
#include "transport/base/fd.h"
#include "transport/base/fork_guard.h"
#include "transport/base/spin.h"
#include "transport/link.h"
#include "transport/stream/buffers.h"
#include "transport/stream/medium.h"

namespace ipcrpc {

class StreamLink final : public Link {
 public:
  struct Options {
    Capabilities capabilities;
    PeerIdentity peer;
    std::string description;
    // Says how the peer ended, asked once when its end of the stream is seen; "" or none: that it is gone.
    std::function<std::string()> epitaph = {};
    bool trusts_peer = false;
  };

  // Over one socket, both ways.
  StreamLink(UniqueFd socket, Options options);
  // Over a descriptor to read from and another to write to.
  StreamLink(UniqueFd read, UniqueFd write, Options options);
  StreamLink(std::unique_ptr<stream::Medium> medium, Options options);
  ~StreamLink() override;

  const Capabilities& capabilities() const override { return options_.capabilities; }
  const PeerIdentity& peer() const override { return options_.peer; }
  const std::string& description() const override { return options_.description; }
  bool cheap_to_poll() const override { return false; }
  bool trusts_peer() const override { return options_.trusts_peer; }
  bool prefers_wait() const override { return OneProcessorAllowed(); }

  uint32_t max_frame_bytes() const override { return stream::kMaxFrameBytes; }
  std::byte* Reserve(uint32_t size, Class frame_class) override;
  void Commit(uint32_t size) override;
  void Flush() override;
  FdSending SendFds(uint32_t parcel, std::span<const UniqueFd> fds) override;

  Progress Poll(FrameSink& sink, int max_frames) override;
  absl::StatusOr<std::vector<UniqueFd>> TakeFds(uint32_t parcel, size_t count) override;
  void DropFds() override;
  bool Wait(int64_t deadline_ns) override;
  int event_fd() const override;
  HangupSource hangup() const override;
  bool PeerHungUp() override;
  bool wants_write() const override;
  bool BeginSleep() override;
  void EndSleep() override {}
  void OnEvent(uint32_t epoll_events) override;

  void Kick() override;
  void NotePeerGone() override;
  void Close(absl::Status why) override;
  absl::Status status() const override;

 private:
  bool one_socket() const { return medium_->write_fd() < 0; }
  // Else it is looked at only for room to write: whoever waits at a message queue is woken by what comes and goes there, both ways.
  bool output_tells_death() const { return medium_->death_fd() < 0; }

  // out_mu_ held. The first one in the send role.
  void TakeCommitted();
  void SendPending();
  void SetWantWrite(bool want);
  bool StillFull();
  // In poll_set_.
  void Watch(int operation, int fd, uint64_t which, uint32_t events) const;

  Progress Deliver(FrameSink& sink, int max_frames, int* frames);
  bool ReadMore(bool gone);  // false: nothing more will come, and the link is closed
  Progress Fault(absl::Status why);
  bool SpaceDue();
  bool TakeKick() {
    return kicked_.load(std::memory_order_relaxed) && kicked_.exchange(false, std::memory_order_seq_cst);
  }
  void KickIfWaiting();
  void NoteDeath();
  bool CameWhileYielding();
  void WatchInput(bool watch);
  void SleepInPoll(int64_t deadline_ns);

  // constant
  const ForkGuard fork_guard_;
  const Options options_;
  const std::unique_ptr<stream::Medium> medium_;

  // With more than one descriptor: an epoll of them, made by the first who asks for event_fd(), with out_mu_ held. A link
  // that is only waited for by itself has none: each entry on a descriptor is told of each arrival there.
  mutable UniqueFd poll_set_;

  // send role
  uint32_t committed_ = 0;  // bytes of a frame that out_ is still to be told of

  // receive role
  stream::InBuffer in_;
  bool drained_ = false;  // the last read took all there was
  bool held_ = false;
  bool input_watched_ = true;  // in poll_set_; not while this thread waits by itself, as each arrival would cost a look there
  Yielder yielder_;
  UniqueFd kick_fd_;  // an eventfd; made by the first Wait() that has to sleep

  // under out_mu_, by whoever sends: the holder of the send role, or of the receive role when the rest can go
  mutable internal::Mutex out_mu_;
  stream::OutBuffer out_;
  bool out_broken_ = false;    // the peer takes nothing any more
  uint32_t space_wanted_ = 0;  // size and limit of the Reserve() that failed; 0: none did
  size_t space_limit_ = 0;
  bool lead_waits_ = false;    // nothing waits here, but the kernel did not take the lead of a frame with descriptors

  // any thread
  std::atomic<bool> want_write_{false};   // written under out_mu_
  std::atomic<bool> space_asked_{false};  // space_wanted_ != 0; written under out_mu_
  std::atomic<bool> waiting_{false};     // the holder of the receive role sleeps, or is about to, in Wait()
  std::atomic<bool> kicked_{false};
  std::atomic<bool> peer_gone_{false};
  std::atomic<bool> closed_{false};
  mutable std::mutex why_mu_;
  absl::StatusCode why_code_ = absl::StatusCode::kOk;  // not a Status: those must not be shared by threads
  std::string why_message_;
};

}  // namespace ipcrpc
