// Calls that coroutines wait for, and handlers that are coroutines.
#include <stdexcept>

#include "tests/behaviour/callback_kit.h"
#include "tests/behaviour/coroutine_kit.h"

namespace behaviour {

Task<StatusCode> CoroutineTest::Echo(int64_t number) {
  ClientContext context;
  const Msg request = Number(number);
  Msg response;
  const Status status = co_await stub_->co()->Unary(&context, request, &response);
  if (status.ok()) {
    EXPECT_EQ(response.number(), number);
  }
  co_return status.error_code();
}

Task<StatusCode> CoroutineTest::Sum(int64_t count) {
  ClientContext context;
  Msg response;
  auto call = stub_->co()->Collect(&context, &response);
  for (int64_t i = 0; i < count; ++i) {
    const Msg message = Number(i);
    EXPECT_TRUE(co_await call.Write(message));
  }
  EXPECT_TRUE(co_await call.WritesDone());
  const Status status = co_await call.Finish();
  EXPECT_EQ(response.number(), count * (count - 1) / 2);
  EXPECT_EQ(response.text(), std::to_string(count));
  co_return status.error_code();
}

Task<StatusCode> CoroutineTest::Count(int64_t count) {
  ClientContext context;
  const Msg request = Number(count);
  auto call = stub_->co()->Emit(&context, request);
  Msg message;
  int64_t seen = 0;
  while (co_await call.Read(&message)) EXPECT_EQ(message.number(), seen++);
  EXPECT_EQ(seen, count);
  const Status status = co_await call.Finish();
  co_return status.error_code();
}

Task<StatusCode> CoroutineTest::PingPong(int64_t count) {
  ClientContext context;
  auto call = stub_->co()->Talk(&context);
  Msg pong;
  for (int64_t i = 0; i < count; ++i) {
    const Msg ping = Number(i);
    EXPECT_TRUE(co_await call.Write(ping));
    EXPECT_TRUE(co_await call.Read(&pong));
    EXPECT_EQ(pong.number(), i);
  }
  EXPECT_TRUE(co_await call.WritesDone());
  EXPECT_FALSE(co_await call.Read(&pong));
  const Status status = co_await call.Finish();
  co_return status.error_code();
}

namespace {

class Coroutines : public CoroutineTest {};
class CoroutinesOfNames : public CoroutineTest {};

TEST_P(Coroutines, ClientsOfSynchronousHandlers) {
  Start();
  EXPECT_EQ(SyncWait(Echo(7)), StatusCode::OK);
  EXPECT_EQ(SyncWait(Sum(20)), StatusCode::OK);
  EXPECT_EQ(SyncWait(Count(20)), StatusCode::OK);
  EXPECT_EQ(SyncWait(PingPong(20)), StatusCode::OK);
}

TEST_P(Coroutines, HandlersOfSynchronousClients) {
  StartCoroutines();
  ClientContext contexts[4];
  Msg message = Number(3);
  ASSERT_TRUE(stub_->Unary(&contexts[0], message, &message).ok());
  EXPECT_EQ(message.number(), 3);
  auto writer = stub_->Collect(&contexts[1], &message);
  for (int i = 0; i < 5; ++i) writer->Write(Number(i));
  writer->WritesDone();
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_EQ(message.number(), 10);
  auto reader = stub_->Emit(&contexts[2], Number(5));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(reader->Read(&message));
  EXPECT_FALSE(reader->Read(&message));
  ASSERT_TRUE(reader->Finish().ok());
  auto talk = stub_->Talk(&contexts[3]);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(talk->Write(Number(i)) && talk->Read(&message));
  talk->WritesDone();
  ASSERT_TRUE(talk->Finish().ok());
}

TEST_P(Coroutines, BothSides) {
  StartCoroutines();
  EXPECT_EQ(SyncWait(Echo(7)), StatusCode::OK);
  EXPECT_EQ(SyncWait(Sum(300)), StatusCode::OK);
  EXPECT_EQ(SyncWait(Count(300)), StatusCode::OK);
  EXPECT_EQ(SyncWait(PingPong(300)), StatusCode::OK);
}

TEST_P(Coroutines, MetadataBothWays) {
  StartCoroutines();
  coroutine_service_.talk = [](CallbackServerContext* context, CoroutineTalk* stream) -> Task<Status> {
    EXPECT_EQ(context->client_metadata().find("asked")->second, "this");
    context->AddInitialMetadata("first", "1");
    EXPECT_TRUE(co_await stream->SendInitialMetadata());
    Msg message;
    EXPECT_TRUE(co_await stream->Read(&message));
    EXPECT_TRUE(co_await stream->WriteLast(message));
    context->AddTrailingMetadata("last", "2");
    co_return Status(StatusCode::DATA_LOSS, "said so");
  };
  SyncWait([](Methods::Stub* stub) -> Task<> {
    ClientContext context;
    context.AddMetadata("asked", "this");
    auto call = stub->co()->Talk(&context);
    EXPECT_TRUE(co_await call.ReadInitialMetadata());
    EXPECT_EQ(context.GetServerInitialMetadata().find("first")->second, "1");
    EXPECT_NE(context.peer(), "ipcrpc:not-connected");
    const Msg sent = Number(4);
    EXPECT_TRUE(co_await call.WriteLast(sent));
    Msg message;
    EXPECT_TRUE(co_await call.Read(&message));
    EXPECT_EQ(message.number(), 4);
    EXPECT_FALSE(co_await call.Read(&message));
    const Status status = co_await call.Finish();
    EXPECT_EQ(status.error_code(), StatusCode::DATA_LOSS);
    EXPECT_EQ(status.error_message(), "said so");
    EXPECT_EQ(context.GetServerTrailingMetadata().find("last")->second, "2");
  }(stub_.get()));
}

TEST_P(Coroutines, WithoutAHandler) {
  StartCoroutines();
  SyncWait([](Methods::Stub* stub) -> Task<> {
    ClientContext contexts[2];
    Msg message;
    const Status unary = co_await stub->co()->Missing(&contexts[0], message, &message);
    EXPECT_EQ(unary.error_code(), StatusCode::UNIMPLEMENTED);
    auto call = stub->co()->MissingTalk(&contexts[1]);
    EXPECT_FALSE(co_await call.Read(&message));
    const Status talk = co_await call.Finish();
    EXPECT_EQ(talk.error_code(), StatusCode::UNIMPLEMENTED);
  }(stub_.get()));
}

TEST_P(Coroutines, AnExceptionIsUnknownAndTheServerLives) {
  StartCoroutines();
  coroutine_service_.unary = [](CallbackServerContext*, const Msg* request, Msg*) -> Task<Status> {
    if (request->number() == 0) throw std::runtime_error("on purpose");
    throw 1;
    co_return Status::OK;
  };
  coroutine_service_.talk = [](CallbackServerContext*, CoroutineTalk* stream) -> Task<Status> {
    Msg message;
    EXPECT_TRUE(co_await stream->Read(&message));
    throw std::runtime_error("after a read");
  };
  EXPECT_EQ(SyncWait(Echo(0)), StatusCode::UNKNOWN);
  EXPECT_EQ(SyncWait(Echo(1)), StatusCode::UNKNOWN);
  SyncWait([](Methods::Stub* stub) -> Task<> {
    ClientContext context;
    auto call = stub->co()->Talk(&context);
    Msg message;
    EXPECT_TRUE(co_await call.Write(message));
    EXPECT_FALSE(co_await call.Read(&message));
    const Status status = co_await call.Finish();
    EXPECT_EQ(status.error_code(), StatusCode::UNKNOWN);
    EXPECT_THAT(status.error_message(), ::testing::HasSubstr("after a read"));
  }(stub_.get()));
  coroutine_service_.unary = {};
  EXPECT_EQ(SyncWait(Echo(2)), StatusCode::OK);
}

TEST_P(Coroutines, ManyAtOnce) {
  StartCoroutines();
  std::vector<Task<StatusCode>> tasks;
  for (int i = 0; i < 100; ++i) {
    tasks.push_back(Echo(i));
    tasks.push_back(PingPong(5));
  }
  for (const StatusCode code : SyncWait(ipcrpc::WhenAll(std::move(tasks)))) EXPECT_EQ(code, StatusCode::OK);
  const auto [echo, sum] = SyncWait(ipcrpc::WhenAll(Echo(1), Sum(10)));
  EXPECT_EQ(echo, StatusCode::OK);
  EXPECT_EQ(sum, StatusCode::OK);
}

// One coroutine reads while another writes.
TEST_P(Coroutines, AReaderAndAWriter) {
  StartCoroutines();
  constexpr int64_t kMessages = 500;
  using Call = ipcrpc::co::ClientReaderWriter<Msg, Msg>;
  const auto write = [](Call* call) -> Task<> {
    for (int64_t i = 0; i < kMessages; ++i) {
      const Msg message = Number(i);
      EXPECT_TRUE(co_await call->Write(message));
    }
    EXPECT_TRUE(co_await call->WritesDone());
  };
  const auto read = [](Call* call) -> Task<int64_t> {
    Msg message;
    int64_t seen = 0;
    while (co_await call->Read(&message)) EXPECT_EQ(message.number(), seen++);
    co_return seen;
  };
  const auto both = [&](Methods::Stub* stub) -> Task<> {
    ClientContext context;
    Call call = stub->co()->Talk(&context);
    const auto [nothing, seen] = co_await ipcrpc::WhenAll(write(&call), read(&call));
    EXPECT_EQ(seen, kMessages);
    const Status status = co_await call.Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  };
  SyncWait(both(stub_.get()));
}

TEST_P(Coroutines, ExecutorsOfBothSides) {
  StartCoroutines();
  OneThread servers, clients;
  coroutine_service_.talk = [&servers](CallbackServerContext*, CoroutineTalk* stream) -> Task<Status> {
    EXPECT_FALSE(servers.here());
    co_await ipcrpc::SwitchTo(&servers);
    Msg message;
    for (;;) {
      EXPECT_TRUE(servers.here());
      if (!co_await stream->Read(&message)) break;
      EXPECT_TRUE(servers.here());
      EXPECT_TRUE(co_await stream->Write(message));
    }
    co_return Status::OK;
  };
  const auto talk = [&]() -> Task<StatusCode> {
    EXPECT_TRUE(clients.here());
    const StatusCode code = co_await PingPong(20);
    EXPECT_TRUE(clients.here());
    co_await Echo(1);
    EXPECT_TRUE(clients.here());
    // What a task switches to is its own.
    co_await [](OneThread* other) -> Task<> { co_await ipcrpc::SwitchTo(other); }(&servers);
    EXPECT_TRUE(clients.here());
    co_return code;
  };
  EXPECT_EQ(SyncWait(talk(), &clients), StatusCode::OK);
  EXPECT_GT(clients.scheduled, 40);
  EXPECT_GT(servers.scheduled, 40);
}

// Each method in the style that suits it, in one service.
class Mixed final : public Methods::WithCoroutineMethod_Talk<Methods::WithCallbackMethod_Collect<
                        Methods::WithCoroutineMethod_Unary<Methods::Service>>> {
  Task<Status> Unary(CallbackServerContext*, const Msg* request, Msg* response) override {
    *response = *request;
    co_return Status::OK;
  }
  ipcrpc::ServerReadReactor<Msg>* Collect(CallbackServerContext*, Msg* response) override {
    return NewSummer(response);
  }
  Status Emit(ServerContext*, const Msg* request, ServerEmitter* writer) override {
    for (int64_t i = 0; i < request->number(); ++i) writer->Write(Number(i));
    return Status::OK;
  }
  Task<Status> Talk(CallbackServerContext*, CoroutineTalk* stream) override {
    Msg message;
    while (co_await stream->Read(&message)) co_await stream->Write(message);
    co_return Status::OK;
  }
};

TEST_P(Coroutines, StylesMixMethodByMethod) {
  Mixed mixed;
  server_ = Serve(mixed, address());
  Start();
  EXPECT_EQ(SyncWait(Echo(7)), StatusCode::OK);
  EXPECT_EQ(SyncWait(Sum(20)), StatusCode::OK);
  EXPECT_EQ(SyncWait(Count(20)), StatusCode::OK);
  EXPECT_EQ(SyncWait(PingPong(20)), StatusCode::OK);
  StopServer();
}

TEST_P(CoroutinesOfNames, NestedCallsInherit) {
  const std::string other = OtherAddress();
  CoroutineLambdaService behind;
  std::atomic<bool> bounded{false}, cancelled{false};
  behind.talk = [&](CallbackServerContext* context, CoroutineTalk* stream) -> Task<Status> {
    bounded = context->deadline() != std::chrono::system_clock::time_point::max();
    Msg message;
    while (co_await stream->Read(&message)) {
    }
    cancelled = context->IsCancelled();
    co_return Status::OK;
  };
  const auto second = Serve(behind, other);
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel(other));
  std::atomic<int> ended_with{-1};
  coroutine_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg* response) -> Task<Status> {
    const auto nested = ClientContext::FromCallbackServerContext(*context);
    auto call = stub->co()->Talk(nested.get());
    while (co_await call.Read(response)) {
    }
    Status status = co_await call.Finish();
    ended_with = status.error_code();
    co_return status;
  };
  StartCoroutines();
  SyncWait([](Methods::Stub* front) -> Task<> {
    ClientContext context;
    context.set_deadline(In(200ms));
    Msg message;
    const Status status = co_await front->co()->Unary(&context, message, &message);
    EXPECT_EQ(status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  }(stub_.get()));
  EXPECT_TRUE(Eventually([&] { return ended_with != -1 && bounded && cancelled; }));
  StopServer();
  second->Shutdown();
}

BEHAVIOUR_SUITE(Coroutines);
BEHAVIOUR_SUITE_WITH_NAMES(CoroutinesOfNames);

}  // namespace
}  // namespace behaviour
