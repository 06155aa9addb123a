// What the byte-stream family does on descriptors that no scheme has yet, and with bytes that no peer should
// send.
#include "transport/stream/stream_link.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/strings.h"
#include "transport/testing/link_driver.h"
#include "transport/testing/link_peer.h"

namespace ipcrpc {
namespace {

using ::testing::HasSubstr;

StreamLink::Options Named(std::string name) {
  return {.capabilities = {}, .peer = {}, .description = std::move(name)};
}

struct LinkPair {
  std::unique_ptr<StreamLink> a, b;
};

std::pair<UniqueFd, UniqueFd> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) abort();
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::pair<UniqueFd, UniqueFd> MakeSocketpair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) abort();
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

LinkPair OverPipes() {
  auto [to_b, from_a] = MakePipe();
  auto [to_a, from_b] = MakePipe();
  return {std::make_unique<StreamLink>(std::move(to_a), std::move(from_a), Named("pipe:a")),
          std::make_unique<StreamLink>(std::move(to_b), std::move(from_b), Named("pipe:b"))};
}

LinkPair OverSocketpair() {
  auto [a, b] = MakeSocketpair();
  return {std::make_unique<StreamLink>(std::move(a), Named("socketpair:a")),
          std::make_unique<StreamLink>(std::move(b), Named("socketpair:b"))};
}

class StreamPairTest : public ::testing::TestWithParam<LinkPair (*)()> {
 protected:
  LinkPair links_ = GetParam()();
};

TEST_P(StreamPairTest, CarriesFramesBothWays) {
  std::thread peer([&] { EXPECT_EQ(PlayRole("exchange 1 2 1000", *links_.b, -1), 0); });
  EXPECT_EQ(PlayRole("exchange 2 1 1000", *links_.a, -1), 0);
  peer.join();
}

// Behind a relay a frame may announce some: they are lost, and the link goes on.
TEST_P(StreamPairTest, HasNoDescriptorsToTake) {
  const absl::Status status = links_.a->TakeFds(1, 2).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(MessageOf(status), HasSubstr("2 descriptors went with a message"));
  links_.a->DropFds();
}

TEST_P(StreamPairTest, FloodsBothWaysWithoutDeadlock) {
  std::thread peer([&] { EXPECT_EQ(PlayRole("flood 1 2 1000", *links_.b, -1), 0); });
  EXPECT_EQ(PlayRole("flood 2 1 1000", *links_.a, -1), 0);
  peer.join();
}

TEST_P(StreamPairTest, ClosingTellsThePeer) {
  LinkDriver driver(*links_.b);
  LinkDriver sender(*links_.a);
  ASSERT_TRUE(sender.Send(MakeFrame(1, 1, 100)));
  std::thread closer([&] { links_.a->Close(absl::CancelledError("enough")); });
  EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(driver.closed);
  EXPECT_EQ(driver.frames, 1);
  EXPECT_TRUE(absl::IsUnavailable(links_.b->status())) << links_.b->status();
  closer.join();
}

TEST_P(StreamPairTest, WritingToNobodyRaisesNoSignal) {
  links_.b.reset();
  LinkDriver driver(*links_.a);
  ASSERT_TRUE(driver.TrySend(MakeFrame(1, 1, 100)));
  links_.a->Flush();  // SIGPIPE would end the test here
  EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(absl::IsUnavailable(links_.a->status())) << links_.a->status();
}

TEST_P(StreamPairTest, AnEpollSeesFramesAndRoom) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data = {}};
  ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, links_.a->event_fd(), &event), 0);
  LinkDriver driver(*links_.a), peer(*links_.b);
  driver.Poll();
  driver.Poll();
  ASSERT_TRUE(links_.a->BeginSleep());
  EXPECT_EQ(epoll_wait(epoll.get(), &event, 1, 0), 0);
  ASSERT_TRUE(peer.Send(MakeFrame(1, 1, 10)));
  ASSERT_EQ(epoll_wait(epoll.get(), &event, 1, 20000), 1);
  links_.a->EndSleep();
  links_.a->OnEvent(event.events);
  EXPECT_EQ(driver.Poll(), Link::Progress::kFrames);

  // Full, then read by the peer: the epoll reports room.
  uint64_t sent = 0;
  while (driver.TrySend(MakeFrame(1, sent, 1000))) {
    ++sent;
    links_.a->Flush();
  }
  driver.Poll();
  driver.Poll();
  ASSERT_TRUE(links_.a->BeginSleep());
  event.events = EPOLLIN | EPOLLRDHUP | (links_.a->wants_write() ? EPOLLOUT : 0u);
  ASSERT_EQ(epoll_ctl(epoll.get(), EPOLL_CTL_MOD, links_.a->event_fd(), &event), 0);
  EXPECT_EQ(epoll_wait(epoll.get(), &event, 1, 0), 0);
  for (int idle = 0; idle < 2;) idle = peer.Poll() == Link::Progress::kIdle ? idle + 1 : 0;
  ASSERT_EQ(epoll_wait(epoll.get(), &event, 1, 20000), 1);
  links_.a->OnEvent(event.events);
  const int64_t deadline = InMs(20000);
  while (driver.spaces == 0 && MonotonicNs() < deadline) {
    driver.Poll();
    peer.Poll();
  }
  EXPECT_GT(driver.spaces, 0);
}

INSTANTIATE_TEST_SUITE_P(Descriptors, StreamPairTest, ::testing::Values(OverPipes, OverSocketpair),
                         [](const auto& test) { return test.index == 0 ? "pipes" : "socketpair"; });

TEST(StreamDescriptorTest, LeavesTheFlagsOfInheritedPipesAlone) {
  auto [read_end, write_end] = MakePipe();
  UniqueFd read_copy(dup(read_end.get())), write_copy(dup(write_end.get()));
  auto [other_read, other_write] = MakePipe();
  StreamLink link(std::move(read_end), std::move(other_write), Named("pipe:"));
  StreamLink other(std::move(other_read), std::move(write_end), Named("pipe:"));
  EXPECT_EQ(fcntl(read_copy.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(fcntl(write_copy.get(), F_GETFL) & O_NONBLOCK, 0);
}

// ---- bytes that no peer should send ------------------------------------------------------------

class RawPeerTest : public ::testing::Test {
 protected:
  RawPeerTest() {
    auto [ours, theirs] = MakeSocketpair();
    link_ = std::make_unique<StreamLink>(std::move(ours), Named("unix:test"));
    raw_ = std::move(theirs);
  }
  void SendRaw(std::string_view bytes) {
    ASSERT_EQ(send(raw_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  absl::Status Outcome() {
    LinkDriver driver(*link_);
    driver.DriveUntil([] { return false; }, 20000);
    frames_ = driver.frames;
    return link_->status();
  }

  static constexpr std::string_view kPreamble{"ipcS\1\0\0\0", 8};
  std::unique_ptr<StreamLink> link_;
  UniqueFd raw_;
  int frames_ = 0;
};

TEST_F(RawPeerTest, RefusesAnotherProtocolAtItsFirstByte) {
  SendRaw("P");
  const absl::Status status = Outcome();
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_THAT(MessageOf(status), HasSubstr("does not speak ipcrpc"));
}

TEST_F(RawPeerTest, RefusesAnotherVersion) {
  SendRaw(std::string_view("ipcS\7\0\0\0", 8));
  const absl::Status status = Outcome();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(MessageOf(status), HasSubstr("version 7"));
}

TEST_F(RawPeerTest, RefusesFramesThatAreTooLongOrEmpty) {
  SendRaw(kPreamble);
  SendRaw(std::string_view("\1\0\0\0x\0\0\0", 8));
  SendRaw(std::string_view("\1\100\1\0", 4));  // 81,921
  const absl::Status status = Outcome();
  EXPECT_EQ(frames_, 1);
  EXPECT_THAT(MessageOf(status), HasSubstr("a frame of 81921 bytes; 1 to 81920 are allowed"));
}

TEST_F(RawPeerTest, RefusesEmptyFrames) {
  SendRaw(kPreamble);
  SendRaw(std::string_view("\0\0\0\0", 4));
  EXPECT_THAT(MessageOf(Outcome()), HasSubstr("a frame of 0 bytes"));
}

TEST_F(RawPeerTest, SaysThatAFrameWasCutOff) {
  SendRaw(kPreamble);
  SendRaw(std::string_view("\x20\0\0\0half", 8));
  raw_.reset();
  const absl::Status status = Outcome();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(MessageOf(status), HasSubstr("in the middle of a frame (after 8 of 40 bytes)"));
}

TEST_F(RawPeerTest, TakesAStreamByteByByte) {
  std::string stream(kPreamble);
  for (uint32_t size : {1u, 4u, 5u, 100u}) {
    const Bytes frame = MakeFrame(3, size, size);
    stream.append(reinterpret_cast<const char*>(&size), 4);
    stream.append(reinterpret_cast<const char*>(frame.data()), size);
    stream.resize((stream.size() + 7) / 8 * 8);
  }
  LinkDriver driver(*link_);
  driver.on_frame = [](const Bytes& frame) {
    EXPECT_EQ(frame, MakeFrame(3, frame.size(), frame.size()));
    return FrameSink::Verdict::kConsumed;
  };
  for (const char byte : stream) {
    SendRaw(std::string_view(&byte, 1));
    driver.Poll();
    driver.Poll();
  }
  EXPECT_EQ(driver.frames, 4);
}

}  // namespace
}  // namespace ipcrpc
