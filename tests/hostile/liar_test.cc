// Servers that lie: the client's calls end, soon and with an error, and its process is unharmed.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/behaviour/fixture.h"
#include "tests/hostile/raw_peer.h"
#include "transport/stream/framing.h"

namespace hostile {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using ipcrpc::rpc::kFirstChunk;
using ipcrpc::rpc::kHasMessage;
using ipcrpc::rpc::kMoreChunks;

std::string Wire(const std::string& frame) {
  const auto size = static_cast<uint32_t>(frame.size());
  std::string wire = Bytes(&size, sizeof(size)) + frame;
  wire.resize(ipcrpc::stream::WireBytes(frame.size()));
  return wire;
}

// Accepts one client on unix:, waits for its first bytes, says `words` and stays until it hangs up.
class Liar {
 public:
  Liar(const std::string& address, std::string words)
      : listener_(ListenAt(SocketPath(address), SOCK_STREAM)), thread_([this, words = std::move(words)] {
          const UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
          pollfd entry = {client.get(), POLLIN, 0};
          poll(&entry, 1, 20'000);
          std::string all(reinterpret_cast<const char*>(ipcrpc::stream::kMagic.data()), ipcrpc::stream::kMagic.size());
          all += std::string("\1\0\0\0", 4) + words;
          usleep(20'000);  // the call is begun
          send(client.get(), all.data(), all.size(), MSG_NOSIGNAL);
          char buffer[4096];
          while (recv(client.get(), buffer, sizeof(buffer), 0) > 0) {
          }
        }) {}
  ~Liar() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }

 private:
  UniqueFd listener_;
  std::thread thread_;
};

class LyingServer : public BehaviourTest {
 protected:
  StatusCode Call(const std::string& words) {
    const Liar liar(address(), words);
    const auto stub = NewStub();
    ClientContext context;
    context.set_deadline(In(20s));
    auto stream = stub->Talk(&context);
    Msg message;
    stream->Write(Number(1));
    while (stream->Read(&message)) {
    }
    return stream->Finish().error_code();
  }
};

std::string Said(const FrameHeader& header, std::string_view block = {}, std::string_view message = {}) {
  return Wire(Hello()) + Wire(FrameOf(header, block, message));
}

TEST_P(LyingServer, FramesThatBreakTheProtocolEndTheCall) {
  using std::string;
  // The client's first call is stream 1.
  for (const auto& [what, words] : std::vector<std::pair<string, string>>{
           {"unknown type", Said({.type = static_cast<FrameType>(77)})},
           {"unknown flags", Said({.type = FrameType::kMessage, .flags = 0x80, .stream = 1})},
           {"short frame", Wire(Hello()) + Wire("x")},
           {"empty frame", Wire(Hello()) + string(8, '\0')},
           {"huge frame", Wire(Hello()) + string("\xff\xff\xff\x7f", 4)},
           {"a call that was not made", Said({.type = FrameType::kFinish, .stream = 999})},
           {"a begin", Said({.type = FrameType::kBegin, .stream = 1})},
           {"a cancel", Said({.type = FrameType::kCancel, .stream = 1})},
           {"a half-close", Said({.type = FrameType::kHalfClose, .stream = 1})},
           {"wrong chunk", Said({.type = FrameType::kMessage, .flags = kHasMessage, .stream = 1}, {}, "bytes")},
           {"wrong size", Said({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .stream = 1, .message_bytes = 9}, {}, "bytes")},
           {"broken status", Said({.type = FrameType::kFinish, .stream = 1, .number = 5}, string("\4\0\0\0\xff\xff\xff\xff", 8))},
           {"no credit", Said({.type = FrameType::kCredit, .stream = 1, .number = 0})},
           {"descriptors that do not come", Said({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .fd_count = 1,
                                                  .stream = 1, .fd_sequence = 1})},
           {"wrong framing", string("garbage that is no frame at all")},
       }) {
    EXPECT_THAT(Call(words), ::testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::INTERNAL)) << what;
  }
}

TEST_P(LyingServer, MessagesOfWrongSizesAndWordsEndTheCall) {
  EXPECT_EQ(Call(Said({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk | kMoreChunks, .stream = 1,
                       .message_bytes = 0xffffffff}, {}, "bytes")),
            StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Call(Said({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .stream = 1, .message_bytes = 4}, {},
                      "\xff\xff\xff\xff")),
            StatusCode::INTERNAL);
  EXPECT_EQ(Call(Said({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .fd_count = 2, .stream = 1})),
            StatusCode::RESOURCE_EXHAUSTED);
  // A status that there is not.
  EXPECT_EQ(Call(Said({.type = FrameType::kFinish, .stream = 1, .number = 4711})), StatusCode::UNKNOWN);
  ipcrpc::rpc::HelloBody future;
  future.version_min = future.version_max = 99;
  EXPECT_EQ(Call(Wire(FrameOf({.type = FrameType::kHello}, {}, Bytes(&future, sizeof(future))))), StatusCode::FAILED_PRECONDITION);
}

INSTANTIATE_TEST_SUITE_P(All, LyingServer, ::testing::Values(std::string_view("unix")), SchemeName);

// A server of shared memory that answers the greeting with anything.
class LyingShmServer : public BehaviourTest {
 protected:
  Status Call(const std::string& answer, const std::vector<int>& fds) {
    const UniqueFd listener = ListenAt(SocketPath(address()), SOCK_SEQPACKET);
    std::thread server([&] {
      const UniqueFd client(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      pollfd entry = {client.get(), POLLIN, 0};
      poll(&entry, 1, 20'000);
      if (!answer.empty()) SendWithFds(client.get(), answer, fds);
      char buffer[4096];
      while (!answer.empty() && recv(client.get(), buffer, sizeof(buffer), 0) > 0) {
      }
    });
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    Status status = NewStub()->Unary(&context, Msg(), &response);
    server.join();
    return status;
  }
};

TEST_P(LyingShmServer, WrongWelcomesAreRefused) {
  using namespace ipcrpc::shm;  // NOLINT: the layout
  const size_t segment_bytes = (kRingOffset + kMinRingBytes + 4095) / 4096 * 4096;
  const UniqueFd empty = MakeMemfd(segment_bytes, kAllSeals, nullptr);
  const UniqueFd unsealed = MakeMemfd(segment_bytes, 0, nullptr);
  const UniqueFd small = MakeMemfd(4096, kAllSeals, nullptr);
  const Welcome good = {.magic = kHelloMagic, .version = kLowestVersion, .refused = 0, .features = 0, .ring_bytes = kMinRingBytes,
                        .max_ring_bytes = kMinRingBytes, .reserved = {}};
  const auto with = [&](auto change) {
    Welcome welcome = good;
    change(welcome);
    return Bytes(&welcome, sizeof(welcome));
  };
  const auto same = with([](Welcome&) {});
  EXPECT_FALSE(Call("", {}).ok());
  EXPECT_FALSE(Call("short", {}).ok());
  EXPECT_FALSE(Call(same, {}).ok());
  EXPECT_FALSE(Call(same, {empty.get()}).ok());
  EXPECT_FALSE(Call(same, {unsealed.get()}).ok());
  EXPECT_FALSE(Call(same, {small.get()}).ok());
  EXPECT_FALSE(Call(same, {empty.get(), empty.get()}).ok());
  EXPECT_FALSE(Call(with([](Welcome& w) { w.magic = 0; }), {empty.get()}).ok());
  EXPECT_FALSE(Call(with([](Welcome& w) { w.version = 9; }), {empty.get()}).ok());
  EXPECT_FALSE(Call(with([](Welcome& w) { w.ring_bytes = 0x80000000; }), {empty.get()}).ok());
  EXPECT_FALSE(Call(with([](Welcome& w) { w.max_ring_bytes = 1; }), {empty.get()}).ok());
  EXPECT_FALSE(Call(with([](Welcome& w) { w.refused = 0xffff; }) + "because", {}).ok());
}

INSTANTIATE_TEST_SUITE_P(All, LyingShmServer, ::testing::Values(std::string_view("shm")), SchemeName);

}  // namespace
}  // namespace hostile
