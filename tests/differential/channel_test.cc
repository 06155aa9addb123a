// Channels: their states, waiting, servers that come and go.
#include "fixture.h"

namespace differential {
namespace {

class ChannelTest : public DifferentialTest {
 protected:
  static Status CallWhenReady(Methods::Stub& stub) {
    ClientContext context;
    context.set_deadline(In(kLimit));
    context.set_wait_for_ready(true);
    Msg response;
    return stub.Unary(&context, Msg(), &response);
  }
};

TEST_F(ChannelTest, AllWaysToMakeOne) {
  Start();
  std::vector<std::shared_ptr<grpc::Channel>> channels = {
      grpc::CreateChannel(address(), grpc::InsecureChannelCredentials()),
      grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), grpc::ChannelArguments())};
  grpc::ChannelArguments arguments;
  arguments.SetInt("made.up", 1);
  arguments.SetString("made.up.too", "x");
  channels.push_back(grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments));
  for (const auto& channel : channels) EXPECT_TRUE(CallOn(*Methods::NewStub(channel)).ok());
}

TEST_F(ChannelTest, IdleUntilSomethingIsWanted) {
  const auto channel = Connect(address());
  EXPECT_EQ(channel->GetState(false), GRPC_CHANNEL_IDLE);
  EXPECT_FALSE(channel->WaitForStateChange(GRPC_CHANNEL_IDLE, In(100ms)));
  EXPECT_EQ(channel->GetState(false), GRPC_CHANNEL_IDLE);
  EXPECT_TRUE(channel->WaitForStateChange(GRPC_CHANNEL_READY, In(kLimit))) << "differs already";
}

TEST_F(ChannelTest, GetStateStartsConnecting) {
  ASSERT_NE(server_ = Serve(address(), &service_), nullptr);
  const auto channel = Connect(address());
  const grpc_connectivity_state before = channel->GetState(true);
  EXPECT_THAT(before, AnyOf(GRPC_CHANNEL_IDLE, GRPC_CHANNEL_CONNECTING, GRPC_CHANNEL_READY));
  EXPECT_TRUE(Eventually([&] { return channel->GetState(false) == GRPC_CHANNEL_READY; }));
}

TEST_F(ChannelTest, WaitForConnectedConnects) {
  ASSERT_NE(server_ = Serve(address(), &service_), nullptr);
  const auto channel = Connect(address());
  EXPECT_TRUE(channel->WaitForConnected(In(kLimit)));
  EXPECT_EQ(channel->GetState(false), GRPC_CHANNEL_READY);
  EXPECT_TRUE(channel->WaitForConnected(In(kLimit)));
}

TEST_F(ChannelTest, WithoutAServerConnectingFailsAndGoesOn) {
  const auto channel = Connect(address());
  EXPECT_FALSE(channel->WaitForConnected(In(200ms)));
  channel->GetState(true);
  EXPECT_TRUE(Eventually([&] { return channel->GetState(true) == GRPC_CHANNEL_TRANSIENT_FAILURE; }));
  ASSERT_NE(server_ = Serve(address(), &service_), nullptr);
  EXPECT_TRUE(channel->WaitForConnected(In(kLimit)));
}

TEST_F(ChannelTest, LeavesReadyWhenTheServerGoes) {
  Start();
  ASSERT_TRUE(Call().ok());
  EXPECT_EQ(channel_->GetState(false), GRPC_CHANNEL_READY);
  std::jthread stopper([&] {
    std::this_thread::sleep_for(50ms);
    StopServer();
  });
  Stopwatch watch;
  EXPECT_TRUE(channel_->WaitForStateChange(GRPC_CHANNEL_READY, In(kLimit)));
  EXPECT_LT(watch.ms(), kPromptMs);
  EXPECT_NE(channel_->GetState(false), GRPC_CHANNEL_READY);
}

TEST_F(ChannelTest, WithoutAServerCallsFailQuickly) {
  const auto stub = Methods::NewStub(Connect(address()));
  Stopwatch watch;
  EXPECT_EQ(CallOn(*stub).error_code(), StatusCode::UNAVAILABLE);
  ClientContext talk, collect;
  Msg message;
  const auto stream = stub->Talk(&talk);
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(stub->Collect(&collect, &message)->Finish().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_LT(watch.ms(), kPromptMs);
}

TEST_F(ChannelTest, WaitForReadyGoesThroughOnceThereIsAServer) {
  const auto stub = Methods::NewStub(Connect(address()));
  std::atomic<int> done{0};
  std::vector<std::jthread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      EXPECT_TRUE(CallWhenReady(*stub).ok());
      ++done;
    });
  }
  std::this_thread::sleep_for(200ms);
  EXPECT_EQ(done, 0);
  ASSERT_NE(server_ = Serve(address(), &service_), nullptr);
  callers.clear();
  EXPECT_EQ(done, 3);
}

TEST_F(ChannelTest, WaitForReadyCanBeCancelled) {
  const auto stub = Methods::NewStub(Connect(address()));
  ClientContext context;
  context.set_wait_for_ready(true);
  std::jthread canceller([&] {
    std::this_thread::sleep_for(50ms);
    context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
}

TEST_F(ChannelTest, OutlivesManyServersOnItsAddress) {
  const auto stub = Methods::NewStub(Connect(address()));
  for (int i = 0; i < 4; ++i) {
    ASSERT_NE(server_ = Serve(address(), &service_), nullptr);
    for (int call = 0; call < 3; ++call) EXPECT_TRUE(CallWhenReady(*stub).ok()) << i;
    StopServer();
    EXPECT_EQ(CallOn(*stub).error_code(), StatusCode::UNAVAILABLE);
  }
}

TEST_F(ChannelTest, StubsAndStreamsKeepItAlive) {
  Start();
  channel_.reset();
  EXPECT_TRUE(Call().ok());
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  stub_.reset();
  Msg message;
  EXPECT_TRUE(stream->Write(Number(4)) && stream->Read(&message));
  EXPECT_EQ(message.number(), 4);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ChannelTest, OfOneServerThereMayBeMany) {
  Start();
  std::vector<std::unique_ptr<Methods::Stub>> stubs;
  for (int i = 0; i < 20; ++i) {
    stubs.push_back(Methods::NewStub(Connect(address())));
    EXPECT_TRUE(CallOn(*stubs.back()).ok());
  }
  for (const auto& stub : stubs) EXPECT_TRUE(CallOn(*stub).ok());
}

}  // namespace
}  // namespace differential
