// Servers: what they are built of, how they are shut down.
#include "fixture.h"

namespace differential {
namespace {

class OtherService final : public Other::Service {
  Status Unary(ServerContext*, const Msg* request, Msg* response) override {
    response->set_number(request->number() + 1);
    return Status::OK;
  }
};

class ServerTest : public DifferentialTest {
 protected:
  static Status CallOther(const std::shared_ptr<grpc::Channel>& channel, Msg* response) {
    ClientContext context;
    context.set_deadline(In(kLimit));
    return Other::NewStub(channel)->Unary(&context, Number(1), response);
  }
};

TEST_F(ServerTest, SeveralAddressesAndServices) {
  OtherService other;
  const std::string second = FreshAddress();
  int port = -1;
  Start([&](grpc::ServerBuilder& builder) {
    builder.AddListeningPort(second, grpc::InsecureServerCredentials(), &port).RegisterService(&other);
  });
  EXPECT_GT(port, 0);
  for (const auto& channel : {channel_, Connect(second)}) {
    EXPECT_TRUE(CallOn(*Methods::NewStub(channel)).ok());
    Msg response;
    EXPECT_TRUE(CallOther(channel, &response).ok());
    EXPECT_EQ(response.number(), 2);
  }
  StopServer();
}

TEST_F(ServerTest, OptionsAreTaken) {
  Start([](grpc::ServerBuilder& builder) {
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1)
        .SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1)
        .SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2)
        .SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::CQ_TIMEOUT_MSEC, 1000)
        .AddChannelArgument("made.up", 7)
        .AddChannelArgument("made.up.too", std::string("x"));
    builder.AddChannelArgument(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, 1000);
  });
  EXPECT_TRUE(Call(OfSize(1000)).ok());
  EXPECT_EQ(Call(OfSize(1001)).error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerTest, AnAddressThatCannotBeBoundGivesNull) {
  // A file stands where the directory of the socket would be.
  EXPECT_EQ(Serve("unix:/dev/null/name", &service_), nullptr);
}

TEST_F(ServerTest, AnotherServersAddressIsNotTaken) {
  Start();
  LambdaService another;
  const auto second = Serve(address(), &another);
  EXPECT_TRUE(Call().ok());
}

TEST_F(ServerTest, NewCallsAreUnavailableAfterShutdown) {
  Start();
  EXPECT_TRUE(Call().ok());
  server_->Shutdown();
  EXPECT_EQ(Call().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(CallOn(*Methods::NewStub(Connect(address()))).error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, ShutdownWaitsForRunningCalls) {
  Start();
  Event running, release, down;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    running.Set();
    EXPECT_TRUE(release.Wait());
    EXPECT_FALSE(context->IsCancelled());
    return Status::OK;
  };
  std::jthread caller([&] { EXPECT_TRUE(Call().ok()); });
  EXPECT_TRUE(running.Wait());
  std::jthread stopper([&] {
    server_->Shutdown();
    down.Set();
  });
  EXPECT_FALSE(down.Wait(200ms));
  release.Set();
  EXPECT_TRUE(down.Wait());
  caller.join();
  stopper.join();
  StopServer();
}

TEST_F(ServerTest, ShutdownWithADeadlineCancelsWhatStillRuns) {
  Start();
  Event unary_running, talk_running;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    unary_running.Set();
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    return Status::OK;
  };
  service_.talk = [&](ServerContext* context, Talker* stream) {
    talk_running.Set();
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    return Status::OK;
  };
  std::jthread caller([&] { EXPECT_THAT(Call().error_code(), AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED)); });
  std::jthread talker([&] {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_THAT(stream->Finish().error_code(), AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  });
  EXPECT_TRUE(unary_running.Wait() && talk_running.Wait());
  Stopwatch watch;
  server_->Shutdown(In(200ms));
  EXPECT_GE(watch.ms(), 150);
  EXPECT_LT(watch.ms(), kPromptMs);
  caller.join();
  talker.join();
  StopServer();
}

TEST_F(ServerTest, ShutdownIsRepeatable) {
  Start();
  server_->Shutdown();
  server_->Shutdown(In(100ms));
  server_->Shutdown();
}

TEST_F(ServerTest, WaitReturnsAfterTheShutdown) {
  Start();
  Event waited;
  std::jthread waiter([&] {
    server_->Wait();
    waited.Set();
  });
  EXPECT_FALSE(waited.Wait(100ms));
  EXPECT_TRUE(Call().ok());
  server_->Shutdown();
  EXPECT_TRUE(waited.Wait());
}

TEST_F(ServerTest, TheDestructorShutsDown) {
  Start();
  EXPECT_TRUE(Call().ok());
  server_.reset();
  EXPECT_EQ(Call().error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, TheAddressIsFreeAgainAfterShutdown) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_NE(server_ = Serve(address(), &service_), nullptr);
    EXPECT_TRUE(CallOn(*Methods::NewStub(Connect(address()))).ok());
    StopServer();
  }
}

}  // namespace
}  // namespace differential
