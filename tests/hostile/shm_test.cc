// Clients that break the shared-memory transport: greetings, descriptors, segments, records, positions.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/behaviour/fixture.h"
#include "tests/hostile/raw_peer.h"

namespace hostile {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using namespace ipcrpc::shm;  // NOLINT: the layout

constexpr size_t kSegmentBytes = (kRingOffset + kMinRingBytes + 4095) / 4096 * 4096;

class Shm : public BehaviourTest {
 protected:
  void SetUp() override {
    Start();
    ExpectAlive();
    before_ = Holdings::Now();
  }
  void TearDown() override {
    ExpectAlive();
    EXPECT_TRUE(Eventually([&] {
      const Holdings now = Holdings::Now();
      return now.descriptors <= before_.descriptors && now.mappings <= before_.mappings;
    })) << before_.descriptors << " -> " << Holdings::Now().descriptors << " descriptors, " << before_.mappings << " -> "
        << Holdings::Now().mappings << " mappings";
    StopServer();
  }

  static ipcrpc::shm::Hello Good() {
    return {.magic = kHelloMagic, .version_min = kLowestVersion, .version_max = kLowestVersion, .features = 0,
            .ring_bytes = kMinRingBytes, .max_ring_bytes = kMinRingBytes, .reserved = {}};
  }
  static UniqueFd GoodMemory(size_t size = kSegmentBytes, int seals = kAllSeals, uint64_t magic = kSegmentMagic,
                             uint32_t version = kLayoutVersion) {
    void* mapping;
    UniqueFd fd = MakeMemfd(size, 0, &mapping);
    if (size >= sizeof(Segment)) {
      auto* segment = new (mapping) Segment();
      segment->magic = magic;
      segment->version = version;
    }
    munmap(mapping, size);
    if (seals != 0) fcntl(fd.get(), F_ADD_SEALS, seals);
    return fd;
  }
  // The server refuses, or hangs up; others go on.
  void ExpectRefused(const char* what, const ipcrpc::shm::Hello& hello, const std::vector<int>& fds) {
    RawShmClient client(address());
    EXPECT_TRUE(SendWithFds(client.socket(), Bytes(&hello, sizeof(hello)), fds)) << what;
    EXPECT_NE(client.ReadAnswer(), 0) << what;
    EXPECT_TRUE(client.WaitClosed()) << what;
  }
  // A greeted client does something; it is closed.
  void ExpectClosed(const char* what, const std::function<void(RawShmClient&)>& act) {
    RawShmClient client(address());
    ASSERT_TRUE(client.Greet()) << what;
    client.Send(hostile::Hello());
    act(client);
    EXPECT_TRUE(client.WaitClosed()) << what;
    ExpectAlive();
  }

  Holdings before_{};
};

TEST_P(Shm, WrongGreetingsAreRefused) {
  const UniqueFd memory = GoodMemory();
  const std::vector<int> fds = {memory.get()};
  ipcrpc::shm::Hello hello = Good();
  hello.magic = 1;
  ExpectRefused("magic", hello, fds);
  hello = Good();
  hello.version_min = hello.version_max = 99;
  ExpectRefused("version", hello, fds);
  for (const uint32_t bytes : {0u, 1u, 4096u, kMinRingBytes + 1, kMaxRingBytes * 2, 0xffffffffu}) {
    hello = Good();
    hello.ring_bytes = bytes;
    ExpectRefused("ring size", hello, fds);
    hello = Good();
    hello.max_ring_bytes = bytes;
    ExpectRefused("largest ring size", hello, fds);
  }
  for (const std::string& bytes : {std::string("x"), std::string(31, 'x'), std::string(5000, 'x')}) {
    RawShmClient client(address());
    EXPECT_TRUE(SendWithFds(client.socket(), bytes, fds));
    EXPECT_NE(client.ReadAnswer(), 0);
  }
}

TEST_P(Shm, WrongPartsAreRefused) {
  const UniqueFd memory = GoodMemory();
  ipcrpc::shm::Hello hello = Good();
  hello.version_min = hello.version_max = kHighestVersion;
  const PartsBody standard = {.segment = 0, .wake = 0, .page_shift = 12, .reserved = 0, .segment_id = -1, .wake_id = -1, .wake_key = 0,
                              .token = 0};
  const auto answer = [&](const std::string& parts, const std::vector<int>& fds) {
    RawShmClient client(address());
    EXPECT_TRUE(SendWithFds(client.socket(), Bytes(&hello, sizeof(hello)) + parts, fds));
    return client.ReadAnswer();
  };
  EXPECT_EQ(answer(Bytes(&standard, sizeof(standard)), {memory.get()}), 0);
  const auto expect_refused = [&](const char* what, const std::string& parts, const std::vector<int>& fds) {
    EXPECT_NE(answer(parts, fds), 0) << what;
  };
  expect_refused("none", "", {memory.get()});
  expect_refused("half of them", Bytes(&standard, sizeof(standard) / 2), {memory.get()});
  const auto with = [&](auto&& change) {
    PartsBody body = standard;
    change(body);
    return Bytes(&body, sizeof(body));
  };
  const int fd = memory.get();
  for (const uint8_t kind : {3, 4, 255}) expect_refused("a segment of no kind", with([&](PartsBody& b) { b.segment = kind; }), {fd});
  for (const uint8_t kind : {4, 5, 255}) expect_refused("a wake of no kind", with([&](PartsBody& b) { b.wake = kind; }), {fd});
  for (const uint8_t shift : {0, 11, 21, 26, 63, 64, 255}) {
    expect_refused("pages of another size", with([&](PartsBody& b) { b.page_shift = shift; }), {fd});
  }
  expect_refused("another token", with([](PartsBody& b) { b.token = 5; }), {fd});
  // Each kind with the descriptors of another.
  for (const uint8_t segment : {0, 1, 2}) {
    for (const uint8_t wake : {0, 1, 2, 3}) {
      if (segment == 0 && wake == 0) continue;
      const std::string parts = with([&](PartsBody& b) { b.segment = segment, b.wake = wake; });
      for (const std::vector<int>& fds : {std::vector<int>{}, std::vector<int>{fd}, std::vector<int>{fd, fd}, std::vector<int>{fd, fd, fd}}) {
        expect_refused("parts that are not there", parts, fds);
      }
    }
  }
}

TEST_P(Shm, WrongDescriptorsAreRefusedAndClosed) {
  const UniqueFd good = GoodMemory();
  ExpectRefused("none", Good(), {});
  ExpectRefused("two", Good(), {good.get(), good.get()});
  ExpectRefused("two hundred", Good(), std::vector<int>(200, good.get()));
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ExpectRefused("a pipe", Good(), {ends[0]});
  close(ends[0]);
  close(ends[1]);
  const UniqueFd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  ExpectRefused("a file", Good(), {file.get()});
  const UniqueFd directory(open("/tmp", O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  ExpectRefused("a directory", Good(), {directory.get()});
  for (const int seals : {0, F_SEAL_SHRINK, kAllSeals & ~F_SEAL_SHRINK, kAllSeals & ~F_SEAL_FUTURE_WRITE, kAllSeals & ~F_SEAL_SEAL}) {
    const UniqueFd memory = GoodMemory(kSegmentBytes, seals);
    ExpectRefused("seals", Good(), {memory.get()});
  }
  for (const size_t size : {size_t{0}, size_t{4096}, kSegmentBytes - 4096, kSegmentBytes + 4096}) {
    const UniqueFd memory = size == 0 ? MakeMemfd(0, kAllSeals, nullptr) : GoodMemory(size);
    ExpectRefused("size", Good(), {memory.get()});
  }
  const UniqueFd no_magic = GoodMemory(kSegmentBytes, kAllSeals, 0);
  ExpectRefused("segment magic", Good(), {no_magic.get()});
  const UniqueFd no_version = GoodMemory(kSegmentBytes, kAllSeals, kSegmentMagic, 77);
  ExpectRefused("segment version", Good(), {no_version.get()});
}

TEST_P(Shm, SilentAndDepartingClientsDelayNobody) {
  std::vector<std::unique_ptr<RawShmClient>> silent;
  for (int i = 0; i < 300; ++i) silent.push_back(std::make_unique<RawShmClient>(address()));
  const auto start = std::chrono::steady_clock::now();
  ExpectAlive();
  EXPECT_LT(MsSince(start), kSlower * 500);
  for (int i = 0; i < 50; ++i) {
    const UniqueFd memory = GoodMemory();
    const ipcrpc::shm::Hello hello = Good();
    RawShmClient client(address());
    SendWithFds(client.socket(), Bytes(&hello, sizeof(hello)), {memory.get()});
  }
}

TEST_P(Shm, BrokenRecordsCloseTheConnection) {
  const auto record = [](uint32_t commit, uint32_t length) { return [=](RawShmClient& client) { client.Commit(commit, length); }; };
  ExpectClosed("no commit bit", record(64, 8));
  ExpectClosed("size 0", record(kCommitted, 8));
  ExpectClosed("odd size", record(kCommitted | 65, 8));
  ExpectClosed("beyond the end", record(kCommitted | (kMinRingBytes + 64), 8));
  ExpectClosed("far beyond the end", record(kCommitted | 0x7fffffc0, 8));
  ExpectClosed("length 0", record(kCommitted | 64, 0));
  ExpectClosed("length beyond its record", record(kCommitted | 64, 57));
  ExpectClosed("length of 16 MiB", record(kCommitted | 64, kLengthMask));
  ExpectClosed("a wrap before the end", record(kCommitted | 64, kWrap));
  ExpectClosed("a kind that is not in use", record(kCommitted | 64, 8u | 3u << 28));
  ExpectClosed("another", record(kCommitted | 64, 8u | 4u << 28));
  ExpectClosed("an unknown kind", record(kCommitted | 64, 8u | 0xf0000000));
}

TEST_P(Shm, WrapLoopsEnd) {
  ExpectClosed("wraps alone", [](RawShmClient& client) {
    // To the end, then again and again from the start.
    client.Commit(kCommitted | (kMinRingBytes - static_cast<uint32_t>(client.tail())), kWrap);
    auto* first = reinterpret_cast<RecordHeader*>(client.ring());
    first->length.store(kWrap);
    first->commit.store(kCommitted | kMinRingBytes);
    client.Wake();
  });
}

TEST_P(Shm, RingSwapsWithoutTheirMemoryCloseTheConnection) {
  const auto swap = [](RawShmClient& client, uint32_t number, uint32_t bytes) {
    const SwapBody body = {number, bytes};
    std::memcpy(client.ring() + client.tail() + sizeof(RecordHeader), &body, sizeof(body));
    client.Commit(kCommitted | 64, static_cast<uint32_t>(sizeof(body)) | kSwap);
  };
  const auto notice = [](RawShmClient& client, uint32_t number, uint32_t bytes, const std::vector<int>& fds) {
    const SwapNotice message = {.type = 'S', .reserved = {}, .number = number, .ring_bytes = bytes, .id = -1};
    SendWithFds(client.socket(), Bytes(&message, kSwapNoticeBytes), fds);
  };
  ExpectClosed("no memory", [&](RawShmClient& client) { swap(client, 1, kMinRingBytes); });
  const UniqueFd ring = MakeMemfd(kMinRingBytes, kAllSeals, nullptr);
  ExpectClosed("another number", [&](RawShmClient& client) {
    notice(client, 1, kMinRingBytes, {ring.get()});
    swap(client, 2, kMinRingBytes);
  });
  ExpectClosed("another size", [&](RawShmClient& client) {
    notice(client, 1, kMinRingBytes, {ring.get()});
    swap(client, 1, 2 * kMinRingBytes);
  });
  const UniqueFd unsealed = MakeMemfd(kMinRingBytes, 0, nullptr);
  ExpectClosed("unsealed memory", [&](RawShmClient& client) {
    notice(client, 1, kMinRingBytes, {unsealed.get()});
    swap(client, 1, kMinRingBytes);
  });
  const UniqueFd small = MakeMemfd(4096, kAllSeals, nullptr);
  ExpectClosed("small memory", [&](RawShmClient& client) {
    notice(client, 1, kMinRingBytes, {small.get()});
    swap(client, 1, kMinRingBytes);
  });
  ExpectClosed("a notice without memory", [&](RawShmClient& client) {
    notice(client, 1, kMinRingBytes, {});
    swap(client, 1, kMinRingBytes);
  });
  ExpectClosed("two notices", [&](RawShmClient& client) {
    notice(client, 1, kMinRingBytes, {ring.get()});
    notice(client, 2, kMinRingBytes, {ring.get()});
    swap(client, 2, kMinRingBytes);
  });
  ExpectClosed("a short swap", [&](RawShmClient& client) {
    notice(client, 1, kMinRingBytes, {ring.get()});
    client.Commit(kCommitted | 64, 4u | kSwap);
  });
}

TEST_P(Shm, LyingAboutWhatWasReadClosesTheConnection) {
  for (const uint64_t head : {uint64_t{1} << 40, ~uint64_t{0}, uint64_t{kMinRingBytes} * 2}) {
    ExpectClosed("a head beyond the tail", [&](RawShmClient& client) {
      client.own()->head.store(head);
      // Make the server write until it looks at the head.
      const std::string ping = FrameOf({.type = FrameType::kPing});
      for (int i = 0; i < 3000 && client.Send(ping, 200); ++i) {
      }
    });
  }
}

TEST_P(Shm, StrangeMessagesOnTheSocketCloseTheConnection) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  for (const std::string& message : {std::string("DD"), std::string("S"), std::string(12, 'x'), std::string(4000, 'S')}) {
    ExpectClosed("message", [&](RawShmClient& client) {
      SendWithFds(client.socket(), message, {});
      usleep(2000);  // so that it is looked at asleep, by way of the socket
      client.Send(FrameOf({.type = FrameType::kPing}));
      SendWithFds(client.socket(), message, {});
    });
  }
  ExpectClosed("many descriptors", [&](RawShmClient& client) { SendWithFds(client.socket(), "D", std::vector<int>(100, ends[0])); });
  close(ends[0]);
  close(ends[1]);
}

TEST_P(Shm, DoorbellFloodsDelayNobodyMuch) {
  std::atomic<bool> stop{false};
  std::thread flood([&] {
    RawShmClient client(address());
    EXPECT_TRUE(client.Greet());
    while (!stop) client.Wake();
  });
  for (int i = 0; i < 200; ++i) {
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    EXPECT_TRUE(stub_->Unary(&context, Number(i), &response).ok());
  }
  stop = true;
  flood.join();
}

#if !defined(__SANITIZE_THREAD__)  // which would report the race that is the point
// What is read is read once: bytes that change meanwhile give some answer or a close, never harm.
TEST_P(Shm, RecordsThatChangeWhileTheyAreRead) {
  for (int round = 0; round < (kSanitized ? 3 : 10); ++round) {
    RawShmClient client(address());
    ASSERT_TRUE(client.Greet());
    client.Send(hostile::Hello());
    std::atomic<bool> stop{false};
    std::thread flipper([&] {
      uint32_t random = static_cast<uint32_t>(round) * 2654435761u + 1;
      while (!stop) {
        random = random * 1664525u + 1013904223u;
        auto* word = reinterpret_cast<std::atomic<uint32_t>*>(client.ring() + (random >> 8) % 4096 / 4 * 4);
        word->fetch_xor(1u << (random & 31));
      }
    });
    for (uint32_t i = 1; i < 500; ++i) {
      std::string begin = FrameOf({.type = FrameType::kBegin, .flags = ipcrpc::rpc::kHasMessage | ipcrpc::rpc::kFirstChunk | ipcrpc::rpc::kHalfCloses,
                                   .stream = i, .message_bytes = 40},
                                  EntryOf(1, "key", "value") + EntryOf(3, "", "/behaviour.Methods/Unary"), std::string(40, '\0'));
      if (!client.Send(begin, 100)) break;
      client.Receive(0);
    }
    stop = true;
    flipper.join();
    ExpectAlive();
  }
}
#endif

// It keeps its end of the socket but says nothing more, and reads nothing of a stream.
TEST_P(Shm, HangUpAndGoOnWriting) {
  RawShmClient client(address());
  ASSERT_TRUE(client.Greet());
  client.Send(hostile::Hello());
  shutdown(client.socket(), SHUT_RDWR);
  const std::string ping = FrameOf({.type = FrameType::kPing});
  const auto start = std::chrono::steady_clock::now();
  while (MsSince(start) < 300) client.Send(ping, 1);
}

// Its word for it is enough, though its socket stays; what it wrote before is read.
TEST_P(Shm, SayingThatItHasClosedEndsTheConnection) {
  RawShmClient client(address());
  ASSERT_TRUE(client.Greet());
  client.Send(hostile::Hello());
  client.Send(FrameOf({.type = FrameType::kPing}));
  client.own()->closed.store(1);
  client.Wake();
  EXPECT_TRUE(client.ReceiveType(FrameType::kPong).has_value());
  EXPECT_TRUE(client.WaitClosed());
}

INSTANTIATE_TEST_SUITE_P(All, Shm, ::testing::Values(std::string_view("shm")), SchemeName);

}  // namespace
}  // namespace hostile
