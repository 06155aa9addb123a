// Clients that lie about descriptors: each loses its own connection, or its call, and leaves nothing in the server.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "tests/behaviour/fd_kit.h"
#include "tests/behaviour/fixture.h"
#include "tests/hostile/raw_peer.h"
#include "transport/stream/framing.h"

namespace hostile {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using ipcrpc::rpc::kFirstChunk;
using ipcrpc::rpc::kHasMessage;
using ipcrpc::rpc::kMoreChunks;

class FdLies : public BehaviourTest {
 protected:
  void SetUp() override {
    service_.talk = [](ServerContext* context, ServerTalk* stream) {
      for (Msg message; stream->Read(&message);) {
        message.set_number(static_cast<int64_t>(context->TakeFds().size()));
        if (!stream->Write(message)) break;
      }
      return Status::OK;
    };
    service_.collect = [](ServerContext* context, ServerCollector*, Msg*) {  // reads nothing
      EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
      return Status::OK;
    };
    Start();
    ExpectAlive();
    before_ = Holdings::Now();
  }
  void TearDown() override {
    ExpectAlive();
    EXPECT_TRUE(Eventually([&] { return Holdings::Now().descriptors <= before_.descriptors; }))
        << before_.descriptors << " -> " << Holdings::Now().descriptors << " descriptors";
    StopServer();
  }

  std::unique_ptr<RawClient> Greeted() {
    auto client = RawClient::Connect(address());
    EXPECT_TRUE(client->Send(hostile::Hello()));
    return client;
  }
  // With a call of stream 1 under way.
  std::unique_ptr<RawClient> Talking() {
    auto client = Greeted();
    EXPECT_TRUE(client->Send(BeginTalk(1)));
    return client;
  }
  std::vector<int> Copies(size_t count) const { return std::vector<int>(count, file_.get()); }

  // Of stream 1, empty, and what it says of its descriptors.
  static std::string Message(uint8_t count, uint32_t parcel) {
    return FrameOf({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .fd_count = count, .stream = 1, .fd_sequence = parcel});
  }

  const UniqueFd file_ = FileWith("hostile");
  Holdings before_{};
};

TEST_P(FdLies, TheTruthIsServed) {
  const auto client = Talking();
  for (uint32_t parcel = 1; parcel <= 3; ++parcel) {
    ASSERT_TRUE(client->SendFds(Message(2, parcel), parcel, Copies(2)));
    const std::optional<std::string> answer = client->ReceiveType(FrameType::kMessage);
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->back(), 2) << "how many came";
  }
}

TEST_P(FdLies, DescriptorsThatNoFrameAnnouncesCloseTheConnection) {
  const auto client = Talking();
  uint32_t sent = 0;
  const std::string ping = FrameOf({.type = FrameType::kPing});
  while (sent < 1000 && client->SendFds(ping, sent + 1, Copies(16))) ++sent;
  EXPECT_TRUE(client->WaitClosed());
}

TEST_P(FdLies, AnnouncedDescriptorsThatDoNotComeCloseTheConnectionAtOnce) {
  for (const std::string& frame : {Message(1, 1), Message(16, 1), Message(1, 2)}) {
    const auto client = Talking();
    const auto start = std::chrono::steady_clock::now();
    client->Send(frame);
    EXPECT_TRUE(client->WaitClosed());
    EXPECT_LT(MsSince(start), 2000 * kSlower);
  }
}

TEST_P(FdLies, OtherNumbersThanTheyHaveCloseTheConnection) {
  for (const uint32_t announced : {2u, 7u, 0xffff'ffffu}) {
    const auto client = Talking();
    client->SendFds(Message(1, announced), 1, Copies(1));
    EXPECT_TRUE(client->WaitClosed()) << announced;
  }
  const auto twice = Talking();
  twice->SendFds(Message(1, 1), 1, Copies(1));
  twice->SendFds(Message(1, 1), 1, Copies(1));
  EXPECT_TRUE(twice->WaitClosed());
}

TEST_P(FdLies, MoreOrFewerThanAnnouncedCloseTheConnection) {
  for (const size_t sent : {1u, 3u, 16u}) {
    const auto client = Talking();
    client->SendFds(Message(2, 1), 1, Copies(sent));
    EXPECT_TRUE(client->WaitClosed()) << sent;
  }
}

TEST_P(FdLies, MoreThanGoWithAMessageCloseTheConnection) {
  for (const size_t sent : {17u, 100u, 253u}) {
    const auto client = Talking();
    client->SendFds(Message(16, 1), 1, Copies(sent));
    EXPECT_TRUE(client->WaitClosed()) << sent;
  }
}

// Its sender's kernel refused: the call ends, the connection goes on.
TEST_P(FdLies, ThoseThatCouldNotBeSentEndTheirCall) {
  const auto client = Talking();
  ASSERT_TRUE(client->Send(Message(3, 0)));
  const std::optional<std::string> finish = client->ReceiveType(FrameType::kFinish);
  ASSERT_TRUE(finish.has_value());
  FrameHeader header;
  std::memcpy(&header, finish->data(), sizeof(header));
  EXPECT_EQ(header.number, static_cast<uint32_t>(StatusCode::RESOURCE_EXHAUSTED));
  EXPECT_NE(finish->find("could not be sent"), std::string::npos);
  ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kPing})));
  EXPECT_TRUE(client->ReceiveType(FrameType::kPong).has_value());
}

TEST_P(FdLies, OfCallsThatAreOverAreClosed) {
  const auto client = Talking();
  client->Send(FrameOf({.type = FrameType::kCancel, .stream = 1, .number = 1}));
  for (uint32_t parcel = 1; parcel <= 50; ++parcel) ASSERT_TRUE(client->SendFds(Message(16, parcel), parcel, Copies(16)));
  ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kPing})));
  EXPECT_TRUE(client->ReceiveType(FrameType::kPong).has_value());
  EXPECT_TRUE(Eventually([&] { return Holdings::Now().descriptors <= before_.descriptors + 10; })) << Holdings::Now().descriptors;
}

// Whatever it does they stay bounded, and go with it.
TEST_P(FdLies, OfMessagesThatNobodyReadsAreBounded) {
  auto client = Greeted();
  uint32_t parcel = 0;
  for (uint32_t stream = 1; stream <= 60; ++stream) {
    client->Send(FrameOf({.type = FrameType::kBegin, .stream = stream}, EntryOf(3, "", "/behaviour.Methods/Collect")));
    // The first chunk of a message that never ends.
    ++parcel;
    client->SendFds(FrameOf({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk | kMoreChunks, .fd_count = 16, .stream = stream,
                             .fd_sequence = parcel, .message_bytes = 100}, {}, "begun"),
                    parcel, Copies(16));
  }
  client->Send(FrameOf({.type = FrameType::kPing}));
  EXPECT_TRUE(client->ReceiveType(FrameType::kPong).has_value());
  const auto held = [&] { return Holdings::Now().descriptors - before_.descriptors; };
  EXPECT_TRUE(Eventually([&] { return held() <= 256u + 64; })) << held();
  EXPECT_GE(held(), 200u);
  client.reset();
}

TEST_P(FdLies, OfAClientThatHangsUpAreClosed) {
  for (int i = 0; i < 20; ++i) {
    const auto client = Talking();
    client->SendFds(Message(16, 1), 1, Copies(16));
    client->SendFds(Message(16, 2).substr(0, 8), 2, Copies(16));  // no frame at all
  }
}

// A server that turns the first call away, as one that is about to go does. How many descriptors it was sent in all.
size_t TurnAwayOnce(int listener) {
  const UniqueFd client(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  const auto say = [&](const FrameHeader& header) {
    const std::string frame = FrameOf(header);
    const auto size = static_cast<uint32_t>(frame.size());
    std::string wire = Bytes(&size, sizeof(size)) + frame;
    wire.resize(ipcrpc::stream::WireBytes(frame.size()));
    send(client.get(), wire.data(), wire.size(), MSG_NOSIGNAL);
  };
  const std::string hello = hostile::Hello();
  const auto hello_bytes = static_cast<uint32_t>(hello.size());
  std::string greeting = std::string("ipcS\1\0\0\0", 8) + Bytes(&hello_bytes, sizeof(hello_bytes)) + hello;
  greeting.resize(8 + ipcrpc::stream::WireBytes(hello.size()));
  send(client.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL);
  size_t came = 0;
  for (;;) {
    char bytes[4096];
    alignas(cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))];
    iovec piece = {bytes, sizeof(bytes)};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (recvmsg(client.get(), &message, MSG_CMSG_CLOEXEC) <= 0) return came;
    const cmsghdr* const part = CMSG_FIRSTHDR(&message);
    if (part == nullptr) continue;
    int fd;
    std::memcpy(&fd, CMSG_DATA(part), sizeof(fd));
    UniqueFd(fd).reset();
    if (++came == 1) {
      say({.type = FrameType::kFinish, .flags = ipcrpc::rpc::kNotRun, .stream = 1, .number = 14});
    } else {
      say({.type = FrameType::kFinish, .flags = kHasMessage | kFirstChunk, .stream = 2});
    }
  }
}

// Nobody has seen the call, so it is made again, with its descriptors.
TEST_P(FdLies, GoAgainWithACallThatIsMadeAgain) {
  if (scheme() != "unix") return;
  const std::string at = OtherAddress();
  const UniqueFd listener = ListenAt(SocketPath(at), SOCK_STREAM);
  size_t came = 0;
  std::thread server([&] { came = TurnAwayOnce(listener.get()); });
  {
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel(at));
    ClientContext context;
    context.set_deadline(In(20s));
    context.AttachFd(FileWith("again"));
    Msg response;
    const Status status = stub->Unary(&context, Msg(), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  server.join();
  EXPECT_EQ(came, 2u);
}

INSTANTIATE_TEST_SUITE_P(All, FdLies, ::testing::Values("shm", "unix"), SchemeName);

}  // namespace
}  // namespace hostile
