#include "transport/testing/link_driver.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cstring>

#include "transport/fd_queue.h"

namespace ipcrpc {
namespace {

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

Bytes MakeFrame(uint64_t seed, uint64_t sequence, size_t size) {
  Bytes frame(size);
  uint64_t state = Mix(seed ^ Mix(sequence ^ Mix(size)));
  for (size_t at = 0; at < size; at += sizeof state) {
    state += 0x9e3779b97f4a7c15u;
    const uint64_t word = state ^ (state >> 29);
    std::memcpy(frame.data() + at, &word, std::min(sizeof word, size - at));
  }
  return frame;
}

size_t FrameSize(uint64_t seed, uint64_t sequence, size_t max) {
  const uint64_t random = Mix(~seed ^ Mix(sequence));
  const uint64_t kind = random % 100;
  const size_t bound = kind < 70 ? 256 : kind < 95 ? 8192 : max;
  return 1 + (random >> 8) % std::min(bound, max);
}

HangupWatch::HangupWatch(Link& link)
    : stop_(eventfd(0, EFD_CLOEXEC)), thread_([this, &link] {
        const Link::HangupSource source = link.hangup();
        pollfd fds[] = {{.fd = source.fd, .events = static_cast<short>(source.events), .revents = 0},
                        {.fd = stop_.get(), .events = POLLIN, .revents = 0}};
        while (true) {
          poll(fds, 2, -1);
          if (fds[1].revents != 0) return;
          if (fds[0].revents != 0 && link.PeerHungUp()) return link.NotePeerGone();
        }
      }) {}

HangupWatch::~HangupWatch() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

FrameSink::Verdict LinkDriver::OnFrame(std::span<const std::byte> frame, bool) {
  const Verdict verdict = on_frame(Bytes(frame.begin(), frame.end()));
  if (verdict == Verdict::kConsumed) ++frames;
  return verdict;
}

Link::Progress LinkDriver::Poll() {
  const Link::Progress progress = link_.Poll(*this, 64);
  if (progress == Link::Progress::kClosed) closed = true;
  return progress;
}

bool LinkDriver::DriveUntil(const std::function<bool()>& done, int64_t ms) {
  const int64_t deadline = InMs(ms);
  while (!done()) {
    if (closed || MonotonicNs() > deadline) return false;
    const Link::Progress progress = Poll();
    const bool nothing = progress == Link::Progress::kIdle || progress == Link::Progress::kHeld;
    if (!nothing) continue;
    if (done()) return true;  // and not asked again: it may have done something
    link_.Wait(deadline);
  }
  return true;
}

bool LinkDriver::TrySend(std::span<const std::byte> frame, Link::Class frame_class) {
  std::byte* room = link_.Reserve(static_cast<uint32_t>(frame.size()), frame_class);
  if (room == nullptr) return false;
  std::memcpy(room, frame.data(), frame.size());
  link_.Commit(static_cast<uint32_t>(frame.size()));
  return true;
}

Link::FdSending LinkDriver::TrySendFds(std::span<const UniqueFd> fds, size_t frame_bytes) {
  std::byte* room = link_.Reserve(static_cast<uint32_t>(frame_bytes), Link::Class::kData);
  if (room == nullptr) return Link::FdSending::kNoSpace;
  const uint32_t parcel = ParcelAfter(parcels_);
  const Link::FdSending sent = link_.SendFds(parcel, fds);
  if (sent != Link::FdSending::kSent) return sent;
  parcels_ = parcel;
  const Bytes frame = MakeFdFrame({.parcel = parcel, .count = static_cast<uint32_t>(fds.size())}, frame_bytes);
  std::memcpy(room, frame.data(), frame.size());
  link_.Commit(static_cast<uint32_t>(frame.size()));
  link_.Flush();
  return sent;
}

Bytes MakeFdFrame(FdFrame announced, size_t size) {
  Bytes frame = MakeFrame(announced.parcel, announced.count, size);
  std::memcpy(frame.data(), &announced, sizeof announced);
  return frame;
}

std::optional<FdFrame> ReadFdFrame(const Bytes& frame) {
  FdFrame announced;
  if (frame.size() < FdFrame::kLeastBytes) return std::nullopt;
  std::memcpy(&announced, frame.data(), sizeof announced);
  if (frame != MakeFdFrame(announced, frame.size())) return std::nullopt;
  return announced;
}

bool LinkDriver::Send(std::span<const std::byte> frame) {
  if (!DriveUntil([&] { return TrySend(frame); })) return false;
  link_.Flush();
  return true;
}

bool LinkDriver::Drain() {
  link_.Flush();
  return DriveUntil([&] { return !link_.wants_write(); });
}

}  // namespace ipcrpc
