// Channels: states, connecting, connecting again, what calls say when nobody is there.
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

using ipcrpc::ConnectivityState;
using ::testing::HasSubstr;

class ChannelBehaviour : public BehaviourTest {
 protected:
  Status Call(Methods::Stub& stub, bool wait_for_ready = false) {
    ClientContext context;
    context.set_deadline(In(30s));
    context.set_wait_for_ready(wait_for_ready);
    Msg response;
    return stub.Unary(&context, Msg(), &response);
  }
};

TEST_P(ChannelBehaviour, WithoutAServerCallsFailQuicklyAndSayWhereTheyLooked) {
  const auto stub = NewStub();
  const auto start = std::chrono::steady_clock::now();
  const Status status = Call(*stub);
  EXPECT_LT(MsSince(start), kSlower * 100);
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  if (GetParam() == "inproc") {
    EXPECT_THAT(status.error_message(), HasSubstr("nobody in this process listens at " + address()));
  } else {
    EXPECT_THAT(status.error_message(), HasSubstr(std::string(getenv("IPCRPC_RUNTIME_DIR")) + "/"));
    EXPECT_THAT(status.error_message(), HasSubstr("does not exist"));
  }
  ClientContext context;
  Msg message;
  auto stream = stub->Talk(&context);
  EXPECT_FALSE(stream->Write(message));
  EXPECT_FALSE(stream->Read(&message));
  stream->WaitForInitialMetadata();
  EXPECT_FALSE(stream->WritesDone());
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNAVAILABLE);
}

TEST_P(ChannelBehaviour, WrongAddressesShowInTheStatusOfCalls) {
  for (const char* wrong : {"", "nonsense:x", "shm:a?b=c", "unix:"}) {
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel(wrong));
    const Status status = Call(*stub, /*wait_for_ready=*/true);
    EXPECT_FALSE(status.ok()) << wrong;
    EXPECT_NE(status.error_code(), StatusCode::DEADLINE_EXCEEDED) << wrong;
    EXPECT_NE(status.error_message(), "") << wrong;
  }
}

TEST_P(ChannelBehaviour, StatesFollowTheConnection) {
  const auto channel = ipcrpc::CreateChannel(address());
  EXPECT_EQ(channel->GetState(false), ConnectivityState::IDLE);
  EXPECT_FALSE(channel->WaitForStateChange(ConnectivityState::IDLE, In(20ms)));
  EXPECT_TRUE(channel->WaitForStateChange(ConnectivityState::READY, In(0ms)));  // differs already
  const auto stub = Methods::NewStub(channel);
  EXPECT_EQ(Call(*stub).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(channel->GetState(false), ConnectivityState::TRANSIENT_FAILURE);

  server_ = Serve(service_, address());
  EXPECT_TRUE(channel->WaitForConnected(In(20s)));
  EXPECT_EQ(channel->GetState(false), ConnectivityState::READY);
  EXPECT_TRUE(Call(*stub).ok());
  // It leaves READY promptly when the server goes, without a call.
  const auto start = std::chrono::steady_clock::now();
  StopServer();
  EXPECT_TRUE(channel->WaitForStateChange(ConnectivityState::READY, In(20s)));
  EXPECT_LT(MsSince(start), kSlower * 600);
  EXPECT_NE(channel->GetState(false), ConnectivityState::READY);
}

TEST_P(ChannelBehaviour, GetStateConnectsAndGoesOnTrying) {
  const auto channel = ipcrpc::CreateChannel(address());
  channel->GetState(true);
  EXPECT_TRUE(Eventually([&] { return channel->GetState(false) == ConnectivityState::TRANSIENT_FAILURE; }));
  server_ = Serve(service_, address());
  EXPECT_TRUE(Eventually([&] { return channel->GetState(false) == ConnectivityState::READY; }));
}

TEST_P(ChannelBehaviour, WaitForConnectedKeepsItsDeadline) {
  const auto channel = ipcrpc::CreateChannel(address());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(channel->WaitForConnected(In(100ms)));
  EXPECT_GE(MsSince(start), 99);
  EXPECT_LT(MsSince(start), 100 + kSlower * 150);
}

TEST_P(ChannelBehaviour, WaitForReadyGoesThroughWhenAServerComes) {
  std::vector<std::thread> callers;
  const auto stub = NewStub();
  std::atomic<int> done{0};
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      const Status status = Call(*stub, /*wait_for_ready=*/true);
      EXPECT_TRUE(status.ok()) << status.error_message();
      ++done;
    });
  }
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(done, 0);
  const auto start = std::chrono::steady_clock::now();
  server_ = Serve(service_, address());
  for (std::thread& caller : callers) caller.join();
  EXPECT_LT(MsSince(start), kSlower * 500);
}

TEST_P(ChannelBehaviour, WaitForReadyEndsWithDeadlineOrCancellation) {
  const auto stub = NewStub();
  Msg response;
  {
    ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(In(100ms));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_LT(MsSince(start), 100 + kSlower * 150);
  }
  ClientContext context;
  context.set_wait_for_ready(true);
  std::thread canceller([&] {
    std::this_thread::sleep_for(30ms);
    context.TryCancel();
  });
  EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  canceller.join();
}

TEST_P(ChannelBehaviour, OutlivesManyServersOnItsAddress) {
  const auto stub = NewStub();
  for (int i = 0; i < 50; ++i) {
    server_ = Serve(service_, address());
    for (int call = 0; call < 3; ++call) {
      const Status status = Call(*stub);
      ASSERT_TRUE(status.ok()) << i << ": " << status.error_message();
    }
    if (i % 2 == 0) {
      server_->Shutdown();
      EXPECT_EQ(Call(*stub).error_code(), StatusCode::UNAVAILABLE);
    }
    server_.reset();
    if (i % 3 == 0) {
      EXPECT_EQ(Call(*stub).error_code(), StatusCode::UNAVAILABLE);
    }
  }
}

TEST_P(ChannelBehaviour, StubsAndStreamsKeepTheChannelAlive) {
  Start();
  ClientContext context;
  auto stream = stub_->Talk(&context);
  channel_.reset();
  stub_.reset();
  Msg message;
  EXPECT_TRUE(stream->Write(Number(4)));
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.number(), 4);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_P(ChannelBehaviour, ManyAtOnceAndInARowLeaveNothing) {
  Start();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const auto stub = NewStub();
        ASSERT_TRUE(Call(*stub).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectAlive();
}

BEHAVIOUR_SUITE_WITH_NAMES(ChannelBehaviour);

}  // namespace
}  // namespace behaviour
