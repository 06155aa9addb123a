// Clients that break the protocol of calls, over every transport: each loses its own connection and nothing else.
#include <fstream>
#include <random>

#include "tests/behaviour/fixture.h"
#include "tests/hostile/raw_peer.h"

namespace hostile {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using ipcrpc::rpc::FrameFlag;
using ipcrpc::rpc::HelloBody;
using ipcrpc::rpc::kFirstChunk;
using ipcrpc::rpc::kHasMessage;
using ipcrpc::rpc::kHalfCloses;
using ipcrpc::rpc::kMoreChunks;

size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

class Frames : public BehaviourTest {
 protected:
  void SetUp() override {
    service_.talk = [](ServerContext*, ServerTalk* stream) {
      Msg message;
      while (stream->Read(&message) && stream->Write(message)) {
      }
      return Status::OK;
    };
    service_.collect = [this](ServerContext* context, ServerCollector*, Msg*) {
      EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
      return Status::OK;
    };
    Start();
    bystander_ = stub_->Talk(&bystander_context_);
    CheckBystander();
    before_ = Holdings::Now();
  }

  void TearDown() override {
    CheckBystander();
    EXPECT_TRUE(bystander_->WritesDone());
    EXPECT_TRUE(bystander_->Finish().ok());
    ExpectAlive();
    // Workers may still be idle; descriptors and mappings must be gone.
    EXPECT_TRUE(Eventually([&] {
      const Holdings now = Holdings::Now();
      // Our own two links may have made their eventfds only now.
      return now.descriptors <= before_.descriptors + 2 && now.mappings <= before_.mappings;
    })) << before_.descriptors << " -> " << Holdings::Now().descriptors << " descriptors";
    StopServer();
  }

  // A stream on a connection of its own goes on whatever others do.
  void CheckBystander() {
    Msg message;
    EXPECT_TRUE(bystander_->Write(Number(++said_)));
    EXPECT_TRUE(bystander_->Read(&message));
    EXPECT_EQ(message.number(), said_);
  }

  std::unique_ptr<RawClient> Greeted() {
    auto client = RawClient::Connect(address());
    EXPECT_TRUE(client->Send(Hello()));
    return client;
  }

  void ExpectClosed(const std::string& what, const std::vector<std::string>& frames, bool greet = true) {
    auto client = greet ? Greeted() : RawClient::Connect(address());
    for (const std::string& frame : frames) {
      if (!client->Send(frame)) break;
    }
    EXPECT_TRUE(client->WaitClosed()) << what;
    CheckBystander();
  }

  ClientContext bystander_context_;
  std::unique_ptr<ipcrpc::ClientReaderWriter<Msg, Msg>> bystander_;
  int64_t said_ = 0;
  Holdings before_{};
};

std::string Message(uint32_t stream, uint8_t flags, uint32_t declared, size_t bytes) {
  return FrameOf({.type = FrameType::kMessage, .flags = static_cast<uint8_t>(kHasMessage | flags), .stream = stream,
                  .message_bytes = declared}, {}, std::string(bytes, '\0'));
}

TEST_P(Frames, WrongHeadersCloseTheConnection) {
  ExpectClosed("one byte", {"x"});
  ExpectClosed("a header less a byte", {std::string(31, '\1')});
  for (const int type : {0, 12, 255}) {
    ExpectClosed("type " + std::to_string(type), {FrameOf({.type = static_cast<FrameType>(type), .stream = 1})});
  }
  for (const int flags : {0x20, 0x40, 0x80, 0xff}) {
    ExpectClosed("flags", {FrameOf({.type = FrameType::kPing, .flags = static_cast<uint8_t>(flags)})});
  }
  ExpectClosed("descriptors", {FrameOf({.type = FrameType::kPing, .fd_count = 1})});
  ExpectClosed("a block beyond the frame", {FrameOf({.type = FrameType::kPing, .block_bytes = 1})});
  ExpectClosed("a block of 4 GiB", {FrameOf({.type = FrameType::kPing, .block_bytes = 0xffffffff})});
  ExpectClosed("message bytes without a message", {FrameOf({.type = FrameType::kCancel, .stream = 1}, {}, "bytes")});
  ExpectClosed("chunk flags without a message", {FrameOf({.type = FrameType::kCancel, .flags = kFirstChunk, .stream = 1})});
}

TEST_P(Frames, WrongGreetingsCloseTheConnection) {
  const HelloBody good;
  ExpectClosed("no greeting", {BeginTalk(1)}, /*greet=*/false);
  ExpectClosed("two greetings", {Hello()});
  ExpectClosed("a short greeting", {FrameOf({.type = FrameType::kHello}, {}, Bytes(&good, sizeof(good) - 1))}, false);
  HelloBody future;
  future.version_min = future.version_max = 99;
  ExpectClosed("another version", {FrameOf({.type = FrameType::kHello}, {}, Bytes(&future, sizeof(future)))}, false);
}

TEST_P(Frames, WrongCallsCloseTheConnection) {
  ExpectClosed("stream 0", {BeginTalk(0)});
  ExpectClosed("a stream in use", {BeginTalk(1), BeginTalk(1)});
  ExpectClosed("a message for no call", {Message(7, kFirstChunk, 1, 1)});
  ExpectClosed("a half-close of no call", {FrameOf({.type = FrameType::kHalfClose, .stream = 7})});
  ExpectClosed("a cancel of no call", {FrameOf({.type = FrameType::kCancel, .stream = 7})});
  for (const FrameType type : {FrameType::kFinish, FrameType::kInitial}) {
    ExpectClosed("a frame of servers", {BeginTalk(1), FrameOf({.type = type, .stream = 1})});
  }
  for (const uint32_t index : {0u, 5u, 4096u, 0xffffffffu}) {
    ExpectClosed("an index without a name", {FrameOf({.type = FrameType::kBegin, .stream = 1, .number = index})});
  }
  const std::string entry = EntryOf(3, "", "/behaviour.Methods/Talk");
  ExpectClosed("a cut entry", {FrameOf({.type = FrameType::kBegin, .stream = 1}, entry.substr(0, entry.size() - 1))});
  ExpectClosed("an entry of 4 GiB",
               {FrameOf({.type = FrameType::kBegin, .stream = 1}, std::string("\3\0\0\0\xff\xff\xff\xff", 8))});
}

TEST_P(Frames, WrongMessagesCloseTheConnection) {
  ExpectClosed("more than declared", {BeginTalk(1), Message(1, kFirstChunk, 5, 6)});
  ExpectClosed("less than declared", {BeginTalk(1), Message(1, kFirstChunk, 6, 5)});
  ExpectClosed("all declared, and more to come", {BeginTalk(1), Message(1, kFirstChunk | kMoreChunks, 5, 5)});
  ExpectClosed("a chunk of nothing", {BeginTalk(1), Message(1, 0, 0, 5)});
  ExpectClosed("a message in a message", {BeginTalk(1), Message(1, kFirstChunk | kMoreChunks, 100, 5), Message(1, kFirstChunk, 5, 5)});
  ExpectClosed("a chunk too long", {BeginTalk(1), Message(1, kFirstChunk | kMoreChunks, 10, 5), Message(1, 0, 0, 6)});
  ExpectClosed("a last chunk too short", {BeginTalk(1), Message(1, kFirstChunk | kMoreChunks, 10, 5), Message(1, 0, 0, 4)});
  ExpectClosed("a message after the last", {FrameOf({.type = FrameType::kBegin, .stream = 1}, EntryOf(3, "", "/behaviour.Methods/Collect")),
                                            FrameOf({.type = FrameType::kHalfClose, .stream = 1}), Message(1, kFirstChunk, 5, 5)});
}

TEST_P(Frames, AbsurdCreditClosesTheConnection) {
  const auto credit = [](uint32_t bytes) { return FrameOf({.type = FrameType::kCredit, .stream = 1, .number = bytes}); };
  const std::string begin = FrameOf({.type = FrameType::kBegin, .stream = 1}, EntryOf(3, "", "/behaviour.Methods/Collect"));
  ExpectClosed("no credit", {begin, credit(0)});
  ExpectClosed("too much credit", {begin, credit(0xffffffff), credit(0xffffffff)});
}

TEST_P(Frames, CreditOverrunClosesTheConnectionBeforeItCostsMemory) {
  const size_t before = ResidentBytes();
  auto client = Greeted();
  client->Send(FrameOf({.type = FrameType::kBegin, .stream = 1}, EntryOf(3, "", "/behaviour.Methods/Collect")));
  size_t sent = 0;
  while (sent < (256u << 20) && client->Send(Message(1, kFirstChunk, 16'000, 16'000))) sent += 16'000;
  EXPECT_TRUE(client->WaitClosed());
  EXPECT_LT(sent, 32u << 20);
  EXPECT_TRUE(kSanitized || ResidentBytes() < before + (32u << 20));
}

TEST_P(Frames, ALieAboutAMessagesSizeReservesLittle) {
  const size_t before = ResidentBytes();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(Greeted());
    clients.back()->Send(BeginTalk(1));
    clients.back()->Send(Message(1, kFirstChunk | kMoreChunks, 4'000'000, 100));
  }
  CheckBystander();
  EXPECT_TRUE(kSanitized || ResidentBytes() < before + (64u << 20));
}

TEST_P(Frames, WhatIsHarmlessIsTolerated) {
  auto client = Greeted();
  // Unknown kinds of entries, credit and cancels for calls that are over, pongs, empty chunks.
  client->Send(FrameOf({.type = FrameType::kBegin, .stream = 1},
                       EntryOf(99, "what", "ever") + EntryOf(3, "", "/nobody/knows") + EntryOf(0, "", "")));
  auto finish = client->ReceiveType(FrameType::kFinish);
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(reinterpret_cast<const FrameHeader*>(finish->data())->number, static_cast<uint32_t>(StatusCode::UNIMPLEMENTED));
  client->Send(FrameOf({.type = FrameType::kCredit, .stream = 1, .number = 100}));
  client->Send(FrameOf({.type = FrameType::kCancel, .stream = 1}));
  client->Send(Message(1, kFirstChunk, 5, 5));
  client->Send(FrameOf({.type = FrameType::kPong}));
  client->Send(FrameOf({.type = FrameType::kPing, .deadline = 77}));
  const auto pong = client->ReceiveType(FrameType::kPong);
  ASSERT_TRUE(pong.has_value());
  EXPECT_EQ(reinterpret_cast<const FrameHeader*>(pong->data())->deadline, 77u);
  client->Send(BeginTalk(5));
  client->Send(Message(5, kFirstChunk | kMoreChunks, 2, 0));
  client->Send(Message(5, kMoreChunks, 0, 0));
  client->Send(FrameOf({.type = FrameType::kMessage, .flags = kHasMessage, .stream = 5}, {}, "\x10\x05"));
  EXPECT_TRUE(client->ReceiveType(FrameType::kMessage).has_value());
  client->Send(FrameOf({.type = FrameType::kHalfClose, .stream = 5}));
  finish = client->ReceiveType(FrameType::kFinish);
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(reinterpret_cast<const FrameHeader*>(finish->data())->number, 0u);
  // A number used again after its call is over is a new call, however soon.
  for (int i = 0; i < 500 && !client->closed(); ++i) {
    client->Send(BeginTalk(5));
    client->Send(FrameOf({.type = FrameType::kHalfClose, .stream = 5}));
    EXPECT_TRUE(client->ReceiveType(FrameType::kFinish).has_value()) << i;
  }
  EXPECT_FALSE(client->closed());
}

TEST_P(Frames, MetadataBombsExhaustTheirCallOnly) {
  auto client = Greeted();
  std::string block = EntryOf(3, "", "/behaviour.Methods/Talk");
  while (block.size() < 15'800) block += EntryOf(1, "k", std::string(100, 'v'));
  client->Send(FrameOf({.type = FrameType::kBegin, .stream = 1}, block));
  const auto finish = client->ReceiveType(FrameType::kFinish);
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(reinterpret_cast<const FrameHeader*>(finish->data())->number, static_cast<uint32_t>(StatusCode::RESOURCE_EXHAUSTED));
}

// Whoever asks and does not read the answers is not kept for ever.
TEST_P(Frames, FloodsWithoutReadingAreBounded) {
  const size_t before = ResidentBytes();
  const std::string ping = FrameOf({.type = FrameType::kPing});
  const std::string unknown = FrameOf({.type = FrameType::kBegin, .stream = 1}, EntryOf(3, "", "/nobody/knows"));
  for (const bool pings : {true, false}) {
    auto client = Greeted();
    bool refused = false;
    for (uint32_t i = 1; i < 600'000 && !refused; ++i) {
      std::string frame = pings ? ping : unknown;
      std::memcpy(frame.data() + offsetof(FrameHeader, stream), &i, pings ? 0 : sizeof(i));
      refused = !client->Send(frame, 500);
    }
    EXPECT_TRUE(refused);
    CheckBystander();
  }
  EXPECT_TRUE(kSanitized || ResidentBytes() < before + (64u << 20));
}

TEST_P(Frames, CallsBegunAndCancelledAtOnceDoNotPileUp) {
  auto client = Greeted();
  for (uint32_t i = 1; i <= (kSanitized ? 500u : 5000u); ++i) {
    if (!client->Send(BeginTalk(i)) || !client->Send(FrameOf({.type = FrameType::kCancel, .stream = i}))) break;
    if (i % 500 == 0) CheckBystander();
  }
  EXPECT_LE(Holdings::Now().threads, before_.threads + 4100);
  EXPECT_FALSE(client->closed());
}

TEST_P(Frames, CallsWithoutARequestAreRefused) {
  auto client = Greeted();
  client->Send(FrameOf({.type = FrameType::kBegin, .flags = kHalfCloses, .stream = 1}, EntryOf(3, "", "/behaviour.Methods/Unary")));
  const auto finish = client->ReceiveType(FrameType::kFinish);
  ASSERT_TRUE(finish.has_value());
  EXPECT_EQ(reinterpret_cast<const FrameHeader*>(finish->data())->number, static_cast<uint32_t>(StatusCode::INTERNAL));
}

// A client that dies in the middle of a request does not keep the server from shutting down.
TEST_P(Frames, HalfRequestsDoNotHoldUpAShutdown) {
  LambdaService service;
  const std::string at = OtherAddress();
  auto server = Serve(service, at);
  const std::string half = FrameOf({.type = FrameType::kBegin, .flags = kHasMessage | kFirstChunk | kMoreChunks, .stream = 1, .message_bytes = 100},
                                   EntryOf(3, "", "/behaviour.Methods/Unary"), "half");
  auto dead = RawClient::Connect(at);
  dead->Send(Hello());
  dead->Send(half);
  dead.reset();
  auto living = RawClient::Connect(at);
  living->Send(Hello());
  living->Send(half);
  living->Send(FrameOf({.type = FrameType::kPing}));
  EXPECT_TRUE(living->ReceiveType(FrameType::kPong).has_value());
  const auto start = std::chrono::steady_clock::now();
  server->Shutdown();
  EXPECT_LT(MsSince(start), kSlower * 1000);
}

TEST_P(Frames, MutatedConversationsNeverHarmTheServer) {
  const std::vector<std::string> conversation = {
      Hello(), BeginTalk(1), Message(1, kFirstChunk, 5, 5), Message(1, kFirstChunk | kMoreChunks, 10, 5), Message(1, 0, 0, 5),
      FrameOf({.type = FrameType::kBegin, .flags = kHasMessage | kFirstChunk | kHalfCloses, .stream = 2, .number = 1},
              EntryOf(1, "key", "value") + EntryOf(3, "", "/behaviour.Methods/Unary")),
      FrameOf({.type = FrameType::kCredit, .stream = 1, .number = 1000}), FrameOf({.type = FrameType::kPing}),
      FrameOf({.type = FrameType::kHalfClose, .stream = 1}), FrameOf({.type = FrameType::kCancel, .stream = 2})};
  std::mt19937 random(12345);
  for (int round = 0; round < (kSanitized ? 60 : 300); ++round) {
    auto client = RawClient::Connect(address());
    const size_t which = random() % conversation.size();
    for (size_t i = 0; i < conversation.size(); ++i) {
      std::string frame = conversation[i];
      if (i == which) {
        switch (random() % 3) {
          case 0:
            frame[random() % frame.size()] ^= static_cast<char>(1u << (random() % 8));
            break;
          case 1:
            frame.resize(1 + random() % frame.size());
            break;
          default:
            for (int n = 0; n < 4; ++n) frame[random() % frame.size()] = static_cast<char>(random());
        }
      }
      if (!client->Send(frame)) break;
    }
    if (round % 20 == 0) CheckBystander();
  }
}

// The rendezvous that a raw peer plays by hand.
INSTANTIATE_TEST_SUITE_P(All, Frames, ::testing::Values("shm", "unix"), SchemeName);

}  // namespace
}  // namespace hostile
