// The life of servers and channels: taking over, connects that hang, peers that stay silent. Over every transport that
// other processes reach by a name.
#include "tests/behaviour/fixture.h"
#include "tests/hostile/raw_peer.h"

namespace takeover {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using ::testing::HasSubstr;

class Life : public BehaviourTest {
 protected:
  static Status Call(Methods::Stub& stub, std::chrono::milliseconds limit = 20s, const std::string& text = "") {
    ClientContext context;
    context.set_deadline(In(limit));
    Msg request, response;
    request.set_text(text);
    return stub.Unary(&context, request, &response);
  }
};

TEST_P(Life, ASuccessorTakesOverAndTheOldServerFinishesItsCalls) {
  const auto allow = [](ipcrpc::ServerBuilder& builder) { builder.SetTakeOver(true); };
  std::atomic<int> old_runs{0}, new_runs{0};
  Event running, release;
  service_.unary = [&](ServerContext*, const Msg* request, Msg* response) {
    ++old_runs;
    if (request->text() == "wait") {
      running.Set();
      EXPECT_TRUE(release.Wait());
    }
    response->set_number(1);
    return Status::OK;
  };
  Start(allow);
  EXPECT_TRUE(Call(*stub_).ok());
  std::thread in_flight([&] { EXPECT_TRUE(Call(*stub_, 20s, "wait").ok()); });
  ASSERT_TRUE(running.Wait());

  LambdaService next_service;
  next_service.unary = [&](ServerContext*, const Msg*, Msg* response) {
    ++new_runs;
    response->set_number(2);
    return Status::OK;
  };
  const auto next = Serve(next_service, address(), allow);
  ASSERT_NE(next, nullptr);
  EXPECT_TRUE(server_->relieved());
  EXPECT_FALSE(next->relieved());
  // The call in flight stays where it is; the channel that has it goes on with the successor once it has heard.
  EXPECT_TRUE(Eventually([&] { return Call(*stub_).ok() && new_runs > 0; }));
  const int settled = old_runs;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Call(*stub_).ok());
  EXPECT_TRUE(Call(*NewStub()).ok());
  release.Set();
  in_flight.join();
  server_->Wait();
  EXPECT_EQ(old_runs, settled);
  server_.reset();
  EXPECT_TRUE(Call(*NewStub()).ok());  // the name is the successor's
  next->Shutdown();
  EXPECT_EQ(Call(*NewStub()).error_code(), StatusCode::UNAVAILABLE);
}

TEST_P(Life, WhatCannotBeTakenOverIsInUse) {
  Start();  // does not allow it
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(address()).RegisterService(&service_).SetTakeOver(true);
  EXPECT_EQ(builder.BuildAndStart(), nullptr);
  EXPECT_THAT(builder.error(), HasSubstr("cannot be taken over"));
  ExpectAlive();
}

TEST_P(Life, AConnectThatHangsEndsWithItsDeadlineOrCancellation) {
  Process server({"serve", address()});
  ASSERT_TRUE(server.ready());
  server.Stop();
  const auto channel = ipcrpc::CreateChannel(address());
  const auto stub = Methods::NewStub(channel);
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Call(*stub, 200ms).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_LT(MsSince(start), 200 + kSlower * 300);
  for (const bool wait_for_ready : {false, true}) {
    ClientContext context;
    context.set_wait_for_ready(wait_for_ready);
    std::thread canceller([&] {
      std::this_thread::sleep_for(100ms);
      start = std::chrono::steady_clock::now();
      context.TryCancel();
    });
    Msg response;
    EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
    canceller.join();
    EXPECT_LT(MsSince(start), kSlower * 300);
  }
  // What hung goes through when the server goes on.
  server.Signal(SIGCONT);
  EXPECT_TRUE(Eventually([&] { return Call(*stub).ok(); }));
  server.Kill();
}

TEST_P(Life, BackOffSparesAServerThatIsNotThere) {
  ipcrpc::ChannelArguments arguments;
  arguments.SetInt(IPCRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 400);
  arguments.SetInt(IPCRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 400);
  arguments.SetInt(IPCRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 400);
  const auto channel = ipcrpc::CreateCustomChannel(address(), arguments);
  channel->GetState(true);
  ASSERT_TRUE(Eventually([&] { return channel->GetState(false) == ipcrpc::ConnectivityState::TRANSIENT_FAILURE; }));
  const auto start = std::chrono::steady_clock::now();
  server_ = Serve(service_, address());
  EXPECT_TRUE(channel->WaitForConnected(In(20s)));
  EXPECT_GT(MsSince(start), 100);  // it waited for the next try
}

TEST_P(Life, AStoppedServerIsNotDeadUnlessKeepaliveSaysSo) {
  Process server({"serve", address()});
  ASSERT_TRUE(server.ready());
  ipcrpc::ChannelArguments arguments;
  arguments.SetInt(IPCRPC_ARG_KEEPALIVE_TIME_MS, 100);
  arguments.SetInt(IPCRPC_ARG_KEEPALIVE_TIMEOUT_MS, 200);
  const auto kept = NewStub(arguments);
  const auto patient = NewStub();
  ASSERT_TRUE(Call(*kept).ok() && Call(*patient).ok());
  // A handler that says nothing for long is not a dead server.
  EXPECT_EQ(Call(*kept, 700ms, "hang").error_code(), StatusCode::DEADLINE_EXCEEDED);
  // Nobody waits for this one: what comes for it is looked at all the same.
  ClientContext idle_context;
  const auto idle = kept->Talk(&idle_context);
  Msg message;
  ASSERT_TRUE(idle->Write(Number(1)) && idle->Read(&message));
  std::this_thread::sleep_for(600ms);
  EXPECT_TRUE(idle->Write(Number(2)) && idle->Read(&message));

  server.Stop();
  const auto start = std::chrono::steady_clock::now();
  const Status status = Call(*kept);
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_LT(MsSince(start), kSlower * 2000);
  EXPECT_EQ(Call(*patient, 500ms).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_FALSE(idle->Read(&message));
  EXPECT_EQ(idle->Finish().error_code(), StatusCode::UNAVAILABLE);
  server.Kill();
}

TEST_P(Life, AServersKeepaliveEndsTheCallsOfStoppedClients) {
  std::atomic<int> running{0};
  service_.talk = [&](ServerContext*, ServerTalk* stream) {
    ++running;
    for (Msg message; stream->Read(&message) && stream->Write(message);) {
    }
    --running;
    return Status::OK;
  };
  Start([](ipcrpc::ServerBuilder& builder) {
    builder.AddChannelArgument(IPCRPC_ARG_KEEPALIVE_TIME_MS, 100).AddChannelArgument(IPCRPC_ARG_KEEPALIVE_TIMEOUT_MS, 200);
  });
  Process client({"call", address(), "3"});
  ASSERT_TRUE(client.ready());
  EXPECT_EQ(running, 3);
  client.Stop();
  EXPECT_TRUE(Eventually([&] { return running == 0; }));
  client.Kill();
  ExpectAlive();
  StopServer();
}

TEST_P(Life, ClientsThatDoNotSayWhoTheyAreAreDropped) {
  if (GetParam().find('?') != std::string_view::npos) return;  // raw clients know the plain ones
  Start([](ipcrpc::ServerBuilder& builder) { builder.AddChannelArgument(IPCRPC_ARG_HANDSHAKE_TIMEOUT_MS, 200); });
  const auto greeted = hostile::RawClient::Connect(address());
  EXPECT_TRUE(greeted->Send(hostile::Hello()));
  const auto silent = hostile::RawClient::Connect(address());
  std::this_thread::sleep_for(50ms);
  const auto later = hostile::RawClient::Connect(address());
  EXPECT_TRUE(silent->WaitClosed());
  EXPECT_TRUE(later->WaitClosed());
  EXPECT_TRUE(greeted->Send(hostile::FrameOf({.type = hostile::FrameType::kPing, .deadline = 7})));
  EXPECT_TRUE(greeted->ReceiveType(hostile::FrameType::kPong).has_value());
  ExpectAlive();
}

// Those whose servers can be relieved.
INSTANTIATE_TEST_SUITE_P(All, Life,
                         ::testing::Values("shm", "shm?segment=posix&wake=sem", "shm?segment=sysv&wake=eventfd", "unix"),
                         SchemeName);

}  // namespace
}  // namespace takeover
