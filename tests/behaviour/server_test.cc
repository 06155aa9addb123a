// Servers: addresses, shutting down, waiting.
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

class ServerBehaviour : public BehaviourTest {
 protected:
  Status Call(Methods::Stub& stub) {
    ClientContext context;
    context.set_deadline(In(30s));
    Msg response;
    return stub.Unary(&context, Msg(), &response);
  }
};

TEST_P(ServerBehaviour, SeveralAddressesAndSchemesAtOnce) {
  const std::string other = OtherAddress();
  const std::string foreign = scheme() == "unix" ? "shm:foreign" : "unix:foreign";
  int bound = -1;
  Start([&](ipcrpc::ServerBuilder& builder) {
    builder.AddListeningPort(other, ipcrpc::InsecureServerCredentials(), &bound).AddListeningPort(foreign);
  });
  EXPECT_GT(bound, 0);
  for (const std::string& at : {address(), other, foreign}) {
    EXPECT_TRUE(Call(*Methods::NewStub(ipcrpc::CreateChannel(at))).ok()) << at;
  }
}

TEST_P(ServerBehaviour, AddressInUseGivesNoServerAndSaysWhy) {
  Start();
  ipcrpc::ServerBuilder builder;
  int bound = 7;
  builder.AddListeningPort(address(), nullptr, &bound).RegisterService(&service_);
  EXPECT_EQ(builder.BuildAndStart(), nullptr);
  EXPECT_EQ(bound, 0);
  EXPECT_THAT(builder.error(), ::testing::HasSubstr(address()));
  ExpectAlive();
}

TEST_P(ServerBehaviour, ShutdownWaitsForRunningCallsAndRefusesNewOnes) {
  Start();
  Event running, release;
  service_.unary = [&](ServerContext* context, const Msg*, Msg* response) {
    running.Set();
    EXPECT_TRUE(release.Wait());
    EXPECT_FALSE(context->IsCancelled());
    response->set_number(11);
    return Status::OK;
  };
  std::thread caller([&] {
    ClientContext context;
    Msg response;
    const Status status = stub_->Unary(&context, Msg(), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.number(), 11);
  });
  ASSERT_TRUE(running.Wait());
  std::atomic<bool> down{false};
  std::thread stopper([&] {
    server_->Shutdown();
    down = true;
  });
  std::thread waiter([&] { server_->Wait(); });
  const auto probe = [&](Methods::Stub& stub) {  // has no handler that would wait
    ClientContext context;
    Msg response;
    return stub.Missing(&context, Msg(), &response).error_code();
  };
  EXPECT_TRUE(Eventually([&] { return probe(*NewStub()) == StatusCode::UNAVAILABLE; }));
  EXPECT_TRUE(Eventually([&] { return probe(*stub_) == StatusCode::UNAVAILABLE; }));
  EXPECT_EQ(Call(*stub_).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_FALSE(down);
  release.Set();
  caller.join();
  stopper.join();
  waiter.join();
  server_->Shutdown();  // repeatable
  server_->Wait();
  StopServer();
}

TEST_P(ServerBehaviour, ShutdownWithDeadlineCancelsWhatStillRuns) {
  Start();
  Event unary_running, talk_running;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    unary_running.Set();
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    return Status::OK;
  };
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    talk_running.Set();
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(context->IsCancelled());
    return Status::OK;
  };
  std::thread caller([&] {
    EXPECT_THAT(Call(*stub_).error_code(), ::testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  });
  std::thread talker([&] {
    ClientContext context;
    auto stream = stub_->Talk(&context);
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_THAT(stream->Finish().error_code(), ::testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  });
  ASSERT_TRUE(unary_running.Wait() && talk_running.Wait());
  const auto start = std::chrono::steady_clock::now();
  server_->Shutdown(In(100ms));
  EXPECT_GE(MsSince(start), 99);
  EXPECT_LT(MsSince(start), 100 + kSlower * 700);
  caller.join();
  talker.join();
  StopServer();
}

TEST_P(ServerBehaviour, ASecondShutdownMayShortenTheFirst) {
  Start();
  Event running;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    running.Set();
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    return Status::OK;
  };
  std::thread caller([&] { EXPECT_FALSE(Call(*stub_).ok()); });
  ASSERT_TRUE(running.Wait());
  std::thread patient([&] { server_->Shutdown(); });
  std::this_thread::sleep_for(20ms);
  server_->Shutdown(In(0ms));
  patient.join();
  caller.join();
  StopServer();
}

// A client that has begun a call and not yet sent its whole request.
TEST_P(ServerBehaviour, ShutdownIsNotKeptWaitingByClientsThatDoNotReadOrFinish) {
  Start();
  service_.emit = [&](ServerContext*, const Msg*, ServerEmitter* writer) {
    const Msg bulk = Data(10'000);
    while (writer->Write(bulk)) {
    }
    return Status::OK;
  };
  ClientContext context;
  auto reader = stub_->Emit(&context, Msg());
  Msg message;
  EXPECT_TRUE(reader->Read(&message));
  const auto start = std::chrono::steady_clock::now();
  server_->Shutdown(In(50ms));
  EXPECT_LT(MsSince(start), 50 + kSlower * 1000);
  StopServer();
}

TEST_P(ServerBehaviour, TheAddressIsFreeAfterShutdown) {
  for (int i = 0; i < 100; ++i) {
    server_ = Serve(service_, address());
    ASSERT_NE(server_, nullptr);
    server_->Shutdown();
    const auto next = Serve(service_, address());
    ASSERT_NE(next, nullptr);
  }
}

TEST_P(ServerBehaviour, LimitOfConcurrentCallsOnAConnection) {
  Start([](ipcrpc::ServerBuilder& builder) { builder.AddChannelArgument("ipcrpc.max_concurrent_streams", 4); });
  std::vector<std::unique_ptr<ClientContext>> contexts;
  std::vector<std::unique_ptr<ipcrpc::ClientReaderWriter<Msg, Msg>>> streams;
  Msg message;
  for (int i = 0; i < 4; ++i) {
    contexts.push_back(std::make_unique<ClientContext>());
    streams.push_back(stub_->Talk(contexts.back().get()));
    ASSERT_TRUE(streams.back()->Write(Msg()) && streams.back()->Read(&message));
  }
  EXPECT_EQ(Call(*stub_).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Call(*NewStub()).ok());
  for (auto& stream : streams) {
    EXPECT_TRUE(stream->WritesDone());
    EXPECT_TRUE(stream->Finish().ok());
  }
  EXPECT_TRUE(Eventually([&] { return Call(*stub_).ok(); }));
}

BEHAVIOUR_SUITE_WITH_NAMES(ServerBehaviour);

}  // namespace
}  // namespace behaviour
