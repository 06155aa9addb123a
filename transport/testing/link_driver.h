// What tests of links need on either side: frames whose every byte can be checked, and a loop that holds both
// roles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "transport/base/clock.h"
#include "transport/base/fd.h"
#include "transport/link.h"

namespace ipcrpc {

using Bytes = std::vector<std::byte>;

// Depends on all of seed, sequence and size, so that a frame that is cut, swapped or repeated does not match.
Bytes MakeFrame(uint64_t seed, uint64_t sequence, size_t size);
// Mostly small, some up to `max`.
size_t FrameSize(uint64_t seed, uint64_t sequence, size_t max);

inline int64_t InMs(int64_t ms) { return MonotonicNs() + ms * 1'000'000; }

// What watches for the peer's end on behalf of a thread in Wait(): the job of transport/runtime, done here by
// a thread.
class HangupWatch {
 public:
  explicit HangupWatch(Link& link);
  ~HangupWatch();

 private:
  UniqueFd stop_;
  std::thread thread_;
};

// Both roles of a link, in one thread.
class LinkDriver final : public FrameSink {
 public:
  explicit LinkDriver(Link& link) : link_(link), watch_(link) {}

  std::function<Verdict(Bytes)> on_frame = [](Bytes) { return Verdict::kConsumed; };
  int frames = 0;  // consumed
  int spaces = 0;  // OnSpace() calls
  bool closed = false;

  Verdict OnFrame(std::span<const std::byte> frame, bool untrusted) override;
  void OnSpace() override { ++spaces; }

  Link::Progress Poll();
  // Polls and waits until `done` (true), the link is closed or the time is up (false unless done).
  bool DriveUntil(const std::function<bool()>& done, int64_t ms = 30000);
  // False when there is no room now.
  bool TrySend(std::span<const std::byte> frame, Link::Class frame_class = Link::Class::kData);
  // With descriptors, where the link passes them: MakeFdFrame() with its parcel, which is counted here when it is sent.
  Link::FdSending TrySendFds(std::span<const UniqueFd> fds, size_t frame_bytes);
  // Drives while there is no room. False: the link is closed, or 30 s have passed.
  bool Send(std::span<const std::byte> frame);
  // Drives until everything is with the kernel, so that a Close() loses nothing.
  bool Drain();

 private:
  Link& link_;
  HangupWatch watch_;
  uint32_t parcels_ = 0;
};

// Frames that announce descriptors: which parcel, how many, and then what MakeFrame() makes of both.
struct FdFrame {  // of none, too
  static constexpr size_t kLeastBytes = 8;
  uint32_t parcel = 0;
  uint32_t count = 0;
};
Bytes MakeFdFrame(FdFrame announced, size_t size);
// What a frame announces; nothing when it is not as it was made.
std::optional<FdFrame> ReadFdFrame(const Bytes& frame);

}  // namespace ipcrpc
