#include "transport/shm/ring.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace ipcrpc::shm {
namespace {

constexpr uint32_t kRing = kMinRingBytes;

// Ring memory, aligned as a mapping is.
class Memory {
 public:
  explicit Memory(uint32_t size) : bytes_(new (std::align_val_t(64)) std::byte[size]()) {}
  ~Memory() { ::operator delete[](bytes_, std::align_val_t(64)); }
  std::byte* data() { return bytes_; }
  RecordHeader* header(uint32_t offset) { return reinterpret_cast<RecordHeader*>(bytes_ + offset); }

 private:
  std::byte* bytes_;
};

struct Pair {
  Memory memory{kRing};
  std::atomic<uint64_t> head{0};
  RingWriter writer{memory.data(), kRing, &head};
  RingReader reader{memory.data(), kRing};

  bool Write(std::string_view frame, uint32_t leave_free = 0) {
    std::byte* at = writer.Reserve(static_cast<uint32_t>(frame.size()), leave_free);
    if (at == nullptr) return false;
    std::memcpy(at, frame.data(), frame.size());
    writer.Commit(static_cast<uint32_t>(frame.size()));
    return true;
  }
  std::optional<std::string> Read() {
    const std::byte* frame;
    uint32_t size;
    if (reader.Peek(&frame, &size) != RingReader::Next::kFrame) return std::nullopt;
    std::string copy(reinterpret_cast<const char*>(frame), size);
    reader.Consume();
    head.store(reader.head(), std::memory_order_release);
    return copy;
  }
};

std::string Frame(uint32_t number, size_t size) {
  std::string frame(size, static_cast<char>('a' + number % 26));
  std::memcpy(frame.data(), &number, std::min(size, sizeof(number)));
  return frame;
}

TEST(RingTest, DeliversInOrderOverManyLaps) {
  Pair pair;
  std::mt19937 random(1);
  uint32_t written = 0, read = 0;
  std::vector<size_t> sizes;
  while (read < 50'000) {
    const size_t size = 1 + random() % (random() % 8 == 0 ? MaxFrameBytes(kRing) : 300);
    if (random() % 3 != 0 && pair.Write(Frame(written, size))) {
      sizes.push_back(size);
      ++written;
    } else if (const auto frame = pair.Read()) {
      ASSERT_EQ(*frame, Frame(read, sizes[read]));
      ++read;
    }
  }
  EXPECT_FALSE(pair.writer.fault());
}

TEST(RingTest, RejectsWriteWhenFullAndKeepsTheReserve) {
  Pair pair;
  const std::string frame(1000, 'x');
  int count = 0;
  while (pair.Write(frame, kControlReserve)) ++count;
  EXPECT_GT(count, 50);
  EXPECT_TRUE(pair.Write("control"));  // there is still the reserve
  for (int i = 0; i < count; ++i) ASSERT_EQ(pair.Read(), frame);
  EXPECT_EQ(pair.Read(), "control");
  EXPECT_TRUE(pair.Write(frame, kControlReserve));
}

TEST(RingTest, LargestFrameAlwaysFitsAnEmptyRing) {
  Pair pair;
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(pair.Write(Frame(i, 1 + i * 61 % 900)));
    ASSERT_TRUE(pair.Read().has_value());
    ASSERT_TRUE(pair.Write(Frame(i, MaxFrameBytes(kRing)), kControlReserve)) << i;
    ASSERT_EQ(pair.Read(), Frame(i, MaxFrameBytes(kRing)));
  }
}

TEST(RingTest, CallAndAnswerTrafficStaysOnFewPages) {
  Pair pair;
  for (uint32_t i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(pair.Write(Frame(i, 1000)));
    ASSERT_TRUE(pair.Read().has_value());
  }
  for (uint32_t offset = 20 * 1024; offset < kRing; offset += kRecordAlign) {
    ASSERT_EQ(pair.memory.header(offset)->commit.load(), 0u) << "touched at " << offset;
  }
}

TEST(RingTest, MovesToAnotherRingAtTheSwapRecord) {
  Pair pair;
  Memory larger(4 * kRing);
  ASSERT_TRUE(pair.Write("before"));
  const SwapBody body = {1, 4 * kRing};
  std::byte* at = pair.writer.Reserve(sizeof(body), 0);
  ASSERT_NE(at, nullptr);
  std::memcpy(at, &body, sizeof(body));
  pair.writer.Commit(sizeof(body), kSwap);
  pair.writer.MoveTo(larger.data(), 4 * kRing);
  EXPECT_FALSE(pair.writer.ReaderHasMoved());
  ASSERT_TRUE(pair.Write(Frame(7, MaxFrameBytes(4 * kRing))));

  EXPECT_EQ(pair.Read(), "before");
  const std::byte* frame;
  uint32_t size;
  ASSERT_EQ(pair.reader.Peek(&frame, &size), RingReader::Next::kSwap);
  pair.reader.Consume();
  pair.reader.MoveTo(larger.data(), 4 * kRing);
  pair.head = pair.reader.head();
  EXPECT_TRUE(pair.writer.ReaderHasMoved());
  EXPECT_EQ(pair.Read(), Frame(7, MaxFrameBytes(4 * kRing)));
}

// What a lying writer can put into the commit and length words.
TEST(RingTest, ReaderFaultsOnImpossibleRecords) {
  struct Case {
    uint32_t commit, length;
  };
  const Case cases[] = {
      {64, 8},                              // not committed, not zero
      {kCommitted, 8},                      // no size
      {kCommitted | 100, 8},                // not a multiple of 64
      {kCommitted | (kRing + 64), 8},       // beyond the end
      {kCommitted | 64, 57},                // longer than its record
      {kCommitted | 64, 0},                 // empty
      {kCommitted | 64, 8 | 3u << 28},      // kinds that are not in use
      {kCommitted | 64, 8 | 0x7000'0000},
      {kCommitted | 64, kWrap},             // a wrap that does not reach the end
      {kCommitted | kRing, kWrap},          // a wrap from the start: leads nowhere
      {0xffff'ffff, 0xffff'ffff},
  };
  for (const Case& c : cases) {
    Pair pair;
    pair.memory.header(0)->length = c.length;
    pair.memory.header(0)->commit = c.commit;
    const std::byte* frame;
    uint32_t size;
    EXPECT_EQ(pair.reader.Peek(&frame, &size), RingReader::Next::kFault) << std::hex << c.commit << " " << c.length;
  }
}

TEST(RingTest, WriterFaultsOnAnImpossibleHead) {
  Pair ahead;
  ASSERT_TRUE(ahead.Write("one"));
  ahead.head = 1 << 20;
  while (ahead.Write(std::string(1000, 'x'))) {
  }
  EXPECT_TRUE(ahead.writer.fault());

  Pair backwards;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(backwards.Write(std::string(1000, 'x')));
    ASSERT_TRUE(backwards.Read().has_value());
  }
  while (backwards.Write(std::string(1000, 'x'))) {
  }
  ASSERT_FALSE(backwards.writer.fault());
  backwards.head = 64;
  EXPECT_FALSE(backwards.Write(std::string(1000, 'x')));
  EXPECT_TRUE(backwards.writer.fault());
}

TEST(RingTest, TwoThreadsLoseNothing) {
  Pair pair;
  constexpr uint32_t kFrames = 100'000;
  std::thread producer([&] {
    std::mt19937 random(3);
    for (uint32_t i = 0; i < kFrames;) {
      const std::string frame = Frame(i, 4 + random() % 500);
      while (!pair.Write(frame)) std::this_thread::yield();
      ++i;
    }
  });
  std::mt19937 random(3);
  for (uint32_t i = 0; i < kFrames; ++i) {
    std::optional<std::string> frame;
    while (!(frame = pair.Read())) std::this_thread::yield();
    ASSERT_EQ(*frame, Frame(i, 4 + random() % 500));
  }
  producer.join();
}

}  // namespace
}  // namespace ipcrpc::shm
