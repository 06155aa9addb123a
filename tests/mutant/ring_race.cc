// One thread writes frames to a ring, another reads them, with nothing between them but the ring's own words.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "transport/shm/ring.h"

namespace {

constexpr uint32_t kRingBytes = ipcrpc::shm::kMinRingBytes;
constexpr uint64_t kFrames = 5000;

struct alignas(64) Memory {
  std::byte ring[kRingBytes] = {};
  alignas(64) std::atomic<uint64_t> head{0};
};

void Write(Memory& memory) {
  ipcrpc::shm::RingWriter writer(memory.ring, kRingBytes, &memory.head);
  for (uint64_t i = 0; i < kFrames;) {
    std::byte* room = writer.Reserve(sizeof(i), 0);
    if (room == nullptr) {
      std::this_thread::yield();
      continue;
    }
    std::memcpy(room, &i, sizeof(i));
    writer.Commit(sizeof(i));
    ++i;
  }
}

bool Read(Memory& memory) {
  ipcrpc::shm::RingReader reader(memory.ring, kRingBytes);
  for (uint64_t i = 0; i < kFrames;) {
    const std::byte* frame;
    uint32_t bytes;
    switch (reader.Peek(&frame, &bytes)) {
      case ipcrpc::shm::RingReader::Next::kEmpty:
        std::this_thread::yield();
        continue;
      case ipcrpc::shm::RingReader::Next::kFrame:
        break;
      default:
        return false;
    }
    uint64_t value;
    if (bytes != sizeof(value)) return false;
    std::memcpy(&value, frame, sizeof(value));
    if (value != i) return false;
    reader.Consume();
    memory.head.store(reader.head(), std::memory_order_release);
    ++i;
  }
  return true;
}

}  // namespace

int main() {
  const auto memory = std::make_unique<Memory>();
  std::thread writer([&] { Write(*memory); });
  const bool right = Read(*memory);
  writer.join();
  std::puts(right ? "every frame arrived as it was" : "a frame did not arrive as it was");
  return right ? 0 : 1;
}
