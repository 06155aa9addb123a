// A link within one process: a ring of records each way, in plain memory.
//
// The rings are those of shm/ring.h, so frames are written and read in place; here their writer is to be trusted. An end that
// waits says so in `sleep` and looks again; whoever has something for it publishes that and then looks at `sleep`
// (a seq_cst fence on each side, so that one of the two sees the other). It sleeps on a futex in Wait(), or in an epoll
// on the reading end of a pipe: a byte in it wakes, and its hang-up tells of the peer's end (which an eventfd could
// not). The pipe is made by the first event_fd() and written to for a sleeper only, so that links that are driven by hand
// or kept busy make no system call.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "transport/base/fd.h"
#include "transport/base/fork_guard.h"
#include "transport/base/spin.h"
#include "transport/fd_queue.h"
#include "transport/link.h"
#include "transport/shm/ring.h"

namespace ipcrpc::inproc {

// Of each ring; touched only as far as it is used, since an empty one starts over early.
inline constexpr uint32_t kRingBytes = 512 * 1024;

inline constexpr Capabilities kCapabilities = {
    .max_frame_bytes = shm::MaxFrameBytes(kRingBytes), .in_place = true, .passes_fds = true, .credentials = true, .pollable = true, .detects_death = true};

// What one end shows to the other.
struct End {
  enum Sleep : uint32_t { kAwake, kInWait, kInEpoll };

  End();
  // Wakes it if it sleeps. After a fence.
  void Wake();
  // Its bell, made if need be; -1: no descriptor left. `peer_left`: hung up from the start.
  int Bell(const std::atomic<bool>& peer_left);
  void HangUpBell();
  void SilenceBell();
  void CloseBell();

  const std::unique_ptr<std::byte, decltype(&free)> ring;  // what it writes
  alignas(64) std::atomic<uint64_t> head{0};               // how far it has read the other's ring
  std::atomic<bool> space_wanted{false};                   // a Reserve() of its failed
  alignas(64) std::atomic<uint32_t> sleep{kAwake};
  std::atomic<uint32_t> wakes{0};  // futex word
  std::atomic<int> cpu{-1};        // where it polled last
  std::atomic<bool> left{false};   // it is closed

  // Descriptors that go with frames of its ring. The other takes them.
  static constexpr size_t kMaxParcels = 8;
  std::mutex fds_mu;
  FdQueue fds{kMaxParcels};

 private:
  std::mutex bell_mu_;
  bool bell_hung_up_ = false;
  UniqueFd bell_read_, bell_write_;
};

using Ends = std::array<End, 2>;

class InprocLink final : public Link {
 public:
  // The end `own` (0 or 1) of the pair.
  InprocLink(std::shared_ptr<Ends> ends, size_t own, std::string description);
  ~InprocLink() override;

  const Capabilities& capabilities() const override { return kCapabilities; }
  const PeerIdentity& peer() const override { return peer_identity_; }
  const std::string& description() const override { return description_; }

  uint32_t max_frame_bytes() const override;
  std::byte* Reserve(uint32_t size, Class frame_class) override;
  void Commit(uint32_t size) override;
  FdSending SendFds(uint32_t parcel, std::span<const UniqueFd> fds) override;
  void Flush() override;

  Progress Poll(FrameSink& sink, int max_frames) override;
  absl::StatusOr<std::vector<UniqueFd>> TakeFds(uint32_t parcel, size_t count) override;
  void DropFds() override;
  bool Wait(int64_t deadline_ns) override;
  int event_fd() const override;
  bool wants_write() const override { return false; }
  bool BeginSleep() override;
  void EndSleep() override { own_.sleep.store(End::kAwake, std::memory_order_relaxed); }
  void OnEvent(uint32_t epoll_events) override;
  bool cheap_to_poll() const override { return true; }
  int peer_cpu() const override { return peer_.cpu.load(std::memory_order_relaxed); }

  void Kick() override;
  void NotePeerGone() override;
  void Close(absl::Status why) override;
  absl::Status status() const override;

 private:
  std::byte* Scratch(uint32_t size);
  void WantSpace();
  bool SpaceCame() const;
  bool Ready() const;
  bool Announce(End::Sleep how);  // false: there is something to do
  bool TakeKick() {
    return kicked_.load(std::memory_order_relaxed) && kicked_.exchange(false, std::memory_order_seq_cst);
  }
  void NoteCpu();
  void PublishHead();

  // constant
  const ForkGuard fork_guard_;
  const std::shared_ptr<Ends> ends_;
  End& own_;
  End& peer_;
  const PeerIdentity peer_identity_;
  const std::string description_;

  // send role
  shm::RingWriter writer_;
  std::string scratch_;
  bool reserved_scratch_ = false;

  // receive role
  shm::RingReader reader_;
  uint64_t published_head_ = 0;
  SpinPolicy spin_{"inproc"};

  // any thread
  std::atomic<uint64_t> space_wanted_head_{0};  // the peer's head when a Reserve() failed
  std::atomic<bool> kicked_{false};
  std::atomic<bool> peer_gone_{false};
  std::atomic<bool> closed_{false};
  mutable std::mutex why_mu_;
  absl::StatusCode why_code_ = absl::StatusCode::kOk;  // not a Status: those must not be shared by threads
  std::string why_message_;
};

}  // namespace ipcrpc::inproc
