#include "bench/ring_echo.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <vector>

#include "echo.pb.h"
#include "transport/base/copy.h"

namespace ipcrpc::bench {
namespace {

// Enough that a reader behind never stops the writer: with one call in flight two would do.
constexpr uint32_t kSlots = 4;

struct alignas(64) SlotHead {
  std::atomic<uint32_t> sequence;  // n: the n-th message is here
  uint32_t bytes;
  std::byte data[56];  // and on from here
};

// One writing side, one reading side. With one call in flight the answer to it says that its slot is free.
class Ring {
 public:
  static size_t Bytes(size_t message_bytes) { return 64 + kSlots * SlotBytes(message_bytes); }

  Ring(std::byte* memory, size_t message_bytes) : memory_(memory), slot_bytes_(SlotBytes(message_bytes)) {}

  SlotHead& slot(uint32_t turn) { return *reinterpret_cast<SlotHead*>(memory_ + 64 + turn % kSlots * slot_bytes_); }
  size_t room() const { return slot_bytes_ - offsetof(SlotHead, data); }
  std::atomic<uint32_t>& asleep() { return *reinterpret_cast<std::atomic<uint32_t>*>(memory_); }  // the reader's futex word

 private:
  static size_t SlotBytes(size_t message_bytes) { return (offsetof(SlotHead, data) + message_bytes + 63) / 64 * 64; }

  std::byte* const memory_;
  const size_t slot_bytes_;
};

// How messages go through a slot. By protobuf: serialised into it, parsed from a copy of it, into objects that are used again.
class ProtobufMessages {
 public:
  static constexpr size_t kOverhead = 32;

  explicit ProtobufMessages(size_t bytes) : copy_(bytes + kOverhead), bytes_(bytes) {
    outgoing_.set_payload(std::string(bytes, 'x'));
  }
  size_t Put(uint32_t turn, std::byte* to) {
    outgoing_.set_id(turn);
    const size_t bytes = outgoing_.ByteSizeLong();
    outgoing_.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(to));
    return bytes;
  }
  void Get(uint32_t turn, const std::byte* from, size_t bytes) {
    if (bytes > copy_.size()) Fail("a message that does not fit its slot");
    CopyBytes(copy_.data(), from, bytes);
    if (!incoming_.ParseFromArray(copy_.data(), static_cast<int>(bytes))) Fail("a message that does not parse");
    if (incoming_.id() != turn || incoming_.payload().size() != bytes_) Fail("an answer to another call");
  }
  void Answer() { outgoing_.set_payload(incoming_.payload()); }

 private:
  std::vector<std::byte> copy_;
  const size_t bytes_;
  Echo outgoing_, incoming_;
};

// Bytes alone, copied in and copied out.
class PlainMessages {
 public:
  static constexpr size_t kOverhead = 0;

  explicit PlainMessages(size_t bytes) : message_(bytes) {}
  size_t Put(uint32_t, std::byte* to) {
    CopyBytes(to, message_.data(), message_.size());
    return message_.size();
  }
  void Get(uint32_t, const std::byte* from, size_t bytes) {
    if (bytes != message_.size()) Fail("a message of another size");
    CopyBytes(message_.data(), from, bytes);
  }
  void Answer() {}

 private:
  std::vector<std::byte> message_;
};

template <typename Messages>
class RingWorkload final : public Workload {
 public:
  RingWorkload(size_t bytes, RingWait wait)
      : bytes_(bytes), wait_(wait), spin_ticks_(static_cast<uint64_t>(wait.spin_us * TicksPerMicrosecond())) {}

  void Serve(const ReadySignal& ready, const SharedMemory&) override {
    Messages messages(bytes_);
    ready.Tell();
    for (uint32_t turn = 1;; ++turn) {
      Receive(requests_, turn, messages);
      messages.Answer();
      Send(responses_, turn, messages);
    }
  }

  void Drive(const SharedMemory& sample) override {
    Messages messages(bytes_);
    uint32_t turn = 0;
    Measure(*sample.As<Sample>(), [&] {
      ++turn;
      Send(requests_, turn, messages);
      Receive(responses_, turn, messages);
    });
  }

 private:
  void Send(Ring& ring, uint32_t turn, Messages& messages) {
    SlotHead& slot = ring.slot(turn);
    slot.bytes = static_cast<uint32_t>(messages.Put(turn, slot.data));
    slot.sequence.store(turn, std::memory_order_release);
    if (wait_.forever) return;
    // Either the reader's last look sees the message, or this sees that it sleeps.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (ring.asleep().load(std::memory_order_relaxed) != 0 && ring.asleep().exchange(0) != 0) {
      syscall(SYS_futex, &ring.asleep(), FUTEX_WAKE, 1, nullptr, nullptr, 0);
    }
  }
  void Receive(Ring& ring, uint32_t turn, Messages& messages) {
    Await(ring, turn);
    const SlotHead& slot = ring.slot(turn);
    messages.Get(turn, slot.data, slot.bytes);
  }
  void Await(Ring& ring, uint32_t turn) {
    const SlotHead& slot = ring.slot(turn);
    const auto here = [&] { return slot.sequence.load(std::memory_order_acquire) == turn; };
    if (wait_.forever) {
      while (!here()) Pause();
      return;
    }
    if (spin_ticks_ != 0) {
      for (const uint64_t began = Now(); Now() - began < spin_ticks_;) {
        for (int i = 0; i < 8; ++i) {
          if (here()) return;
          Pause();
        }
      }
    }
    while (!here()) {
      ring.asleep().store(1, std::memory_order_seq_cst);
      if (!here()) syscall(SYS_futex, &ring.asleep(), FUTEX_WAIT, 1, nullptr, nullptr, 0);
      ring.asleep().store(0, std::memory_order_relaxed);
    }
  }

  const size_t bytes_;
  const RingWait wait_;
  const uint64_t spin_ticks_;
  const size_t ring_bytes_ = Ring::Bytes(bytes_ + Messages::kOverhead);
  SharedMemory memory_{2 * ring_bytes_};
  Ring requests_{memory_.As<std::byte>(), bytes_ + Messages::kOverhead};
  Ring responses_{memory_.As<std::byte>() + ring_bytes_, bytes_ + Messages::kOverhead};
};

}  // namespace

std::unique_ptr<Workload> RingEcho(size_t bytes, RingWait wait) {
  return std::make_unique<RingWorkload<ProtobufMessages>>(bytes, wait);
}

std::unique_ptr<Workload> SharedMemoryEcho(size_t bytes) {
  return std::make_unique<RingWorkload<PlainMessages>>(bytes, RingWait{.forever = true});
}

}  // namespace ipcrpc::bench
