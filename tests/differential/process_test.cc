// The other side is another process, that dies or is stopped.
#include "fixture.h"

namespace differential {
namespace {

class ProcessTest : public DifferentialTest {
 protected:
  std::unique_ptr<Methods::Stub> StubOfPeer() {
    channel_ = Connect(address());
    return Methods::NewStub(channel_);
  }
};

TEST_F(ProcessTest, AKilledServerEndsEveryCallWithUnavailable) {
  Peer server({"serve", address()});
  const auto stub = StubOfPeer();
  ASSERT_TRUE(CallOn(*stub).ok());

  Msg wait;
  wait.set_text("wait");
  Event unary_over, reader_over, writer_over;
  std::atomic<int> written{0};
  std::jthread unary([&] {
    EXPECT_EQ(CallOn(*stub, wait).error_code(), StatusCode::UNAVAILABLE);
    unary_over.Set();
  });
  ClientContext emit, collect;
  const auto reader = stub->Emit(&emit, Msg());
  Msg message, response;
  EXPECT_TRUE(reader->Read(&message));
  std::jthread reading([&] {
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNAVAILABLE);
    reader_over.Set();
  });
  // One that only writes.
  const auto writer = stub->Collect(&collect, &response);
  EXPECT_TRUE(writer->Write(Msg()));
  writer->WaitForInitialMetadata();
  std::jthread writing([&] {
    const Msg bulk = Data(64 * 1024);
    while (writer->Write(bulk)) ++written;
    EXPECT_EQ(writer->Finish().error_code(), StatusCode::UNAVAILABLE);
    writer_over.Set();
  });
  EXPECT_TRUE(Settles(written));
  Stopwatch watch;
  server.Kill();
  EXPECT_TRUE(unary_over.Wait() && reader_over.Wait() && writer_over.Wait());
  EXPECT_LT(watch.ms(), kPromptMs);
  EXPECT_EQ(CallOn(*stub).error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(ProcessTest, TheAddressOfAKilledServerCanBeBoundAgain) {
  for (int i = 0; i < 3; ++i) {
    Peer server({"serve", address()});
    const auto stub = StubOfPeer();
    EXPECT_TRUE(channel_->WaitForConnected(In(kLimit)));
    EXPECT_TRUE(CallOn(*stub).ok());
    server.Kill();
  }
}

TEST_F(ProcessTest, AChannelFindsTheSuccessorOfAKilledServer) {
  const auto stub = StubOfPeer();
  for (int i = 0; i < 3; ++i) {
    Peer server({"serve", address()});
    EXPECT_TRUE(Eventually([&] {
      ClientContext context;
      context.set_deadline(In(kLimit));
      context.set_wait_for_ready(true);
      Msg response;
      return stub->Unary(&context, Msg(), &response).ok();
    }));
    server.Kill();
  }
}

TEST_F(ProcessTest, TheCallsOfAKilledClientAreCancelled) {
  Start();
  Event cancelled;
  service_.talk = [&](ServerContext* context, Talker* stream) {
    Msg message;
    EXPECT_TRUE(stream->Read(&message) && stream->Write(message));
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    cancelled.Set();
    return Status::OK;
  };
  Peer client({"call", address()});
  EXPECT_FALSE(cancelled.set());
  client.Kill();
  EXPECT_TRUE(cancelled.Wait());
  ExpectAlive();
  StopServer();
}

TEST_F(ProcessTest, AStoppedClientHoldsUpNobody) {
  Start();
  // It is sent more than it can take.
  Event full;
  std::atomic<int> written{0};
  service_.talk = [&](ServerContext*, Talker* stream) {
    Msg message;
    EXPECT_TRUE(stream->Read(&message) && stream->Write(message));
    const Msg bulk = Data(64 * 1024);
    while (stream->Write(bulk)) ++written;
    return Status::OK;
  };
  Peer client({"call", address()});
  client.Stop();
  EXPECT_TRUE(Settles(written));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call().ok());
  client.Kill();  StopServer();
}

TEST_F(ProcessTest, DeadlinesFireThoughTheServerIsStopped) {
  Peer server({"serve", address()});
  const auto stub = StubOfPeer();
  ASSERT_TRUE(CallOn(*stub).ok());
  server.Stop();
  ClientContext context;
  context.set_deadline(In(300ms));
  Stopwatch watch;
  Msg response;
  EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_LT(watch.ms(), kPromptMs);
  server.Continue();
  EXPECT_TRUE(CallOn(*stub).ok());
}

}  // namespace
}  // namespace differential
