// A link over two rings in shared memory: one written here, one read here.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "transport/base/fork_guard.h"
#include "transport/base/queue.h"
#include "transport/fd_queue.h"
#include "transport/link.h"
#include "transport/shm/event_count.h"
#include "transport/shm/handshake.h"
#include "transport/shm/ring.h"
#include "transport/shm/segment.h"
#include "transport/base/spin.h"

namespace ipcrpc::shm {

inline constexpr Capabilities kCapabilities = {
    .max_frame_bytes = MaxFrameBytes(kMaxRingBytes), .in_place = true, .passes_fds = true, .credentials = true, .pollable = true, .detects_death = true};

class ShmLink final : public Link {
 public:
  // `control` is the connected socket over which `agreement` was reached.
  ShmLink(UniqueFd control, Agreement agreement, PeerIdentity peer, std::string description, SpinRule spin, bool trusts_peer);
  ~ShmLink() override;

  const Capabilities& capabilities() const override;
  const PeerIdentity& peer() const override { return peer_identity_; }
  const std::string& description() const override { return description_; }

  uint32_t max_frame_bytes() const override { return MaxFrameBytes(writer_.size()); }
  std::byte* Reserve(uint32_t size, Class frame_class) override;
  void Commit(uint32_t size) override;
  FdSending SendFds(uint32_t parcel, std::span<const UniqueFd> fds) override;
  void Flush() override { waker_.WakeFor(SleepWord::kData); }

  Progress Poll(FrameSink& sink, int max_frames) override;
  absl::StatusOr<std::vector<UniqueFd>> TakeFds(uint32_t parcel, size_t count) override;
  void DropFds() override { fds_in_.Clear(); }
  bool Wait(int64_t deadline_ns) override;
  int event_fd() const override { return control_.get(); }
  bool wants_write() const override { return false; }
  bool BeginSleep() override;
  void EndSleep() override { sleeper_.Retract(); }
  void OnEvent(uint32_t epoll_events) override;
  bool cheap_to_poll() const override { return true; }
  bool may_spin() const override { return spin_.mode() != SpinMode::kOff; }
  bool trusts_peer() const override { return trusts_peer_; }
  int peer_cpu() const override;
  bool worth_a_spin_for_space() const override;

  void Kick() override;
  void NotePeerGone() override;
  void Close(absl::Status why) override;
  absl::Status status() const override;

 private:
  struct PeerRing {
    uint32_t number;
    uint32_t ring_bytes;
    MemoryPlace place;
  };

  // Whose frames the peer has not read. That many are no flood, and all fit its control socket.
  static constexpr size_t kMaxParcelsOut = 8;
  // Where the peer says how far it has read only after some frames.
  static constexpr size_t kMaxParcelsIn = 2 * kMaxParcelsOut;

  // send role
  bool GrowRing();
  void WantSpace();
  bool TooManyParcels();
  std::byte* Scratch(uint32_t size);

  // receive role
  bool Ready() const;
  bool SpaceCame() const;
  bool PeerClosed() const { return peer_->closed.load(std::memory_order_acquire) != 0; }
  uint32_t SleepReasons() const;
  bool TakeKick();
  void NoteCpu();
  void PublishHead();
  absl::Status FollowSwap(const std::byte* frame, uint32_t frame_bytes);
  bool DrainControl();  // true: there may be more
  bool OnControl(Datagram datagram);  // false: it is unknown
  bool MemoryBroken() const;
  Progress Fault(absl::string_view what);

  // constant
  const ForkGuard fork_guard_;
  const UniqueFd control_;
  const PeerIdentity peer_identity_;
  const std::string description_;
  const uint32_t max_ring_bytes_;
  const bool trusts_peer_;
  const Parts parts_;  // our side's
  const PeerMemoryKind peer_kind_;
  const Mapping own_mapping_, peer_mapping_;
  const std::unique_ptr<Bell> own_bell_, peer_bell_;  // null: the futex
  Segment* const own_;
  const Segment* const peer_;

  // send role
  alignas(64) RingWriter writer_;
  Mapping own_ring_;       // after a swap; before it the ring is in own_mapping_
  Mapping retired_ring_;   // the peer may still read it
  uint32_t swaps_sent_ = 0;
  bool growth_refused_ = false;
  Queue<uint64_t> parcels_out_;  // where the frames begin that announce them
  std::string scratch_;
  bool reserved_scratch_ = false;

  // receive role
  alignas(64) RingReader reader_;
  uint64_t published_head_ = 0;
  Mapping peer_ring_;
  uint32_t swaps_seen_ = 0;
  std::optional<PeerRing> next_ring_;
  FdQueue fds_in_{kMaxParcelsIn};
  Sleeper sleeper_;
  SpinPolicy spin_;
  uint32_t kicks_taken_ = 0;
  std::optional<uint64_t> gone_at_head_;  // where it had read to when the peer was seen to be gone

  // any thread
  alignas(64) Waker waker_;
  std::atomic<bool> space_wanted_{false};       // set by the send role, cleared by the receive role
  std::atomic<uint64_t> space_wanted_head_{0};  // the peer's head at that time
  std::atomic<uint32_t> kicks_{0};              // futex word
  std::atomic<bool> waiting_{false};            // the holder of the receive role sleeps in Wait()
  std::atomic<bool> peer_gone_{false};
  std::atomic<bool> peer_gone_first_{false};  // before this side closed
  std::atomic<bool> closed_{false};
  mutable std::mutex mu_;
  absl::StatusCode why_code_ = absl::StatusCode::kOk;  // a Status is not shared by threads: see docs
  std::string why_message_;
};

}  // namespace ipcrpc::shm
