// Servers that refer to memory as they like, and do with what they are lent what they like: the client's call ends with a status that
// says so, and nothing is left in the client.
#include <thread>

#include "tests/behaviour/generic_kit.h"
#include "tests/hostile/references_kit.h"

namespace hostile {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using ipcrpc::rpc::kFirstChunk;
using ipcrpc::rpc::kHasMessage;
using ipcrpc::rpc::kRefers;
using ipcrpc::rpc::kTakesReferences;

constexpr uint32_t kBytes = 64 * 1024;
constexpr char kUnary[] = "/behaviour.Methods/Unary";

class ReferringServer : public BehaviourTest {
 protected:
  void SetUp() override {
    listener_ = ListenFor(address());
    ASSERT_TRUE(listener_.valid());
    // What the first connection of a process makes stays.
    channel_ = ipcrpc::CreateChannel(client_address(), ipcrpc::InsecureChannelCredentials());
    EXPECT_TRUE(CallWith([](Referrer& server, uint32_t stream) {
      server->Send(FrameOf({.type = FrameType::kFinish, .flags = kHasMessage | kFirstChunk, .stream = stream}));
    }).ok());
    channel_ = ipcrpc::CreateChannel(client_address(), ipcrpc::InsecureChannelCredentials());
    before_ = Leftovers::Now();
  }
  void TearDown() override {
    channel_ = nullptr;
    listener_.reset();
    before_.ExpectAgain();
  }
  // Once somebody calls.
  Referrer Accepted() {
    Referrer server(RawClient::Accept(address(), listener_.get()));
    EXPECT_TRUE(server->Send(hostile::Hello(kTakesReferences)));
    return server;
  }
  // A unary call, which the server answers as it likes; it closes with the call if it says so.
  Status CallWith(const std::function<void(Referrer& server, uint32_t stream)>& answer) {
    std::thread server([&] {
      Referrer peer = Accepted();
      const auto begin = peer->ReceiveType(FrameType::kBegin);
      ASSERT_TRUE(begin.has_value());
      answer(peer, HeaderOf(*begin).stream);
    });
    ByteBuffer response;
    const Status status = CallByName(channel_, kUnary, behaviour::Bytes("request"), &response);
    text_ = status.ok() ? Text(response) : "";
    server.join();
    return status;
  }
  static std::string Finish(uint32_t stream, const std::vector<ReferenceBody>& references, uint32_t bytes) {
    return FrameOf({.type = FrameType::kFinish, .flags = kHasMessage | kFirstChunk | kRefers, .stream = stream, .message_bytes = bytes},
                   Entries(references));
  }

  UniqueFd listener_;
  std::string text_;
  Leftovers before_{};
};

TEST_P(ReferringServer, TheTruthIsTaken) {
  const std::string bytes(kBytes, 't');
  const Status status = CallWith([&](Referrer& server, uint32_t stream) {
    EXPECT_TRUE(server.ShowNext(kPool, MemoryWith(bytes, kPoolSeals), kBytes));
    EXPECT_TRUE(server->Send(Finish(stream, {{.memory = 1, .loan = 3, .bytes = kBytes}}, kBytes)));
    EXPECT_TRUE(server->ReceiveType(FrameType::kReturn).has_value());
  });
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(text_ == bytes);
}

TEST_P(ReferringServer, WhatIsNotThereEndsTheConnection) {
  for (const ReferenceBody& reference : {ReferenceBody{.memory = 2, .bytes = kBytes}, {.memory = 1, .offset = 1, .bytes = kBytes},
                                         {.memory = 1, .loan = 1, .bytes = kBytes}, {.memory = 1, .bytes = kBytes, .before = 1}}) {
    const Status status = CallWith([&](Referrer& server, uint32_t stream) {
      EXPECT_TRUE(server.ShowNext(kSealed, MemoryWith(std::string(kBytes, 't'), kSealedSeals), kBytes));
      server->Send(Finish(stream, {reference}, kBytes));
      EXPECT_TRUE(server->WaitClosed());
    });
    EXPECT_FALSE(status.ok());
    EXPECT_FALSE(status.error_message().empty());
  }
}

TEST_P(ReferringServer, WhatIsLostEndsTheCallAlone) {
  const Status status = CallWith([&](Referrer& server, uint32_t stream) {
    EXPECT_TRUE(server->Send(Show(1, {.bytes = kBytes, .kind = kSealed}, /*parcel=*/0)));
    EXPECT_TRUE(server->Send(Finish(stream, {{.memory = 1, .bytes = kBytes}}, kBytes)));
    EXPECT_TRUE(server->ReceiveType(FrameType::kMemoryRefused).has_value());
  });
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("could not be mapped"));
}

INSTANTIATE_TEST_SUITE_P(All, ReferringServer, ::testing::Values("shm", "unix"), SchemeName);

}  // namespace
}  // namespace hostile
