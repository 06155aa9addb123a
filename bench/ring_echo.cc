#include "bench/ring_echo.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstring>

#include "echo.pb.h"

namespace ipcrpc::bench {
namespace {

constexpr uint32_t kSlots = 64;

struct alignas(64) Slot {
  std::atomic<uint32_t> sequence;  // n: the n-th message is here
  uint32_t bytes;
  std::byte data[248];
};

// One writing side, one reading side. With one call in flight the answer to it says that its slot is free.
struct Ring {
  Slot slots[kSlots];
  alignas(64) std::atomic<uint32_t> asleep;  // the reader's: futex word
};

struct Rings {
  Ring requests, responses;
};

void Put(Ring& ring, uint32_t turn, const Echo& message, bool may_sleep) {
  Slot& slot = ring.slots[turn % kSlots];
  slot.bytes = static_cast<uint32_t>(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(slot.data));
  slot.sequence.store(turn, std::memory_order_release);
  if (!may_sleep) return;
  // Either the reader's last look sees the message, or this sees that it sleeps.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (ring.asleep.load(std::memory_order_relaxed) != 0 && ring.asleep.exchange(0) != 0) {
    syscall(SYS_futex, &ring.asleep, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
}

void Await(Ring& ring, uint32_t turn, const RingWait& wait, uint64_t spin_ticks) {
  const Slot& slot = ring.slots[turn % kSlots];
  const auto here = [&] { return slot.sequence.load(std::memory_order_acquire) == turn; };
  if (wait.forever) {
    while (!here()) Pause();
    return;
  }
  if (spin_ticks != 0) {
    for (const uint64_t began = Now(); Now() - began < spin_ticks;) {
      for (int i = 0; i < 8; ++i) {
        if (here()) return;
        Pause();
      }
    }
  }
  while (!here()) {
    ring.asleep.store(1, std::memory_order_seq_cst);
    if (!here()) syscall(SYS_futex, &ring.asleep, FUTEX_WAIT, 1, nullptr, nullptr, 0);
    ring.asleep.store(0, std::memory_order_relaxed);
  }
}

void Get(const Ring& ring, uint32_t turn, Echo& message) {
  const Slot& slot = ring.slots[turn % kSlots];
  std::byte copy[sizeof(slot.data)];
  const uint32_t bytes = slot.bytes;
  if (bytes > sizeof(copy)) Fail("a message that does not fit its slot");
  std::memcpy(copy, slot.data, bytes);
  if (!message.ParseFromArray(copy, static_cast<int>(bytes))) Fail("a message that does not parse");
}

class RingWorkload final : public Workload {
 public:
  explicit RingWorkload(RingWait wait) : wait_(wait), spin_ticks_(static_cast<uint64_t>(wait.spin_us * TicksPerMicrosecond())) {}

  void Serve(const ReadySignal& ready) override {
    Echo request, response;
    ready.Tell();
    for (uint32_t turn = 1;; ++turn) {
      Await(rings().requests, turn, wait_, spin_ticks_);
      Get(rings().requests, turn, request);
      response.set_id(request.id());
      response.set_payload(request.payload());
      Put(rings().responses, turn, response, !wait_.forever);
    }
  }

  void Drive(const SharedMemory& sample) override {
    Echo request, response;
    request.set_payload(std::string(kPayloadBytes, 'x'));
    uint32_t turn = 0;
    Measure(*sample.As<Sample>(), [&] {
      ++turn;
      request.set_id(turn);
      Put(rings().requests, turn, request, !wait_.forever);
      Await(rings().responses, turn, wait_, spin_ticks_);
      Get(rings().responses, turn, response);
      if (response.id() != turn || response.payload().size() != kPayloadBytes) Fail("an answer to another call");
    });
  }

 private:
  Rings& rings() { return *memory_.As<Rings>(); }

  const RingWait wait_;
  const uint64_t spin_ticks_;
  SharedMemory memory_{sizeof(Rings)};
};

}  // namespace

std::unique_ptr<Workload> RingEcho(RingWait wait) { return std::make_unique<RingWorkload>(wait); }

}  // namespace ipcrpc::bench
