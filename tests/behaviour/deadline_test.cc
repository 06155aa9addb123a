// Deadlines: kept by the client, known to the server, passed on.
#include <signal.h>

#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

class Deadline : public BehaviourTest {};

TEST_P(Deadline, AlreadyPastFailsAtOnceWithoutAHandler) {
  Start();
  std::atomic<int> runs{0};
  service_.unary = [&](ServerContext*, const Msg*, Msg*) { return ++runs, Status::OK; };
  const auto start = std::chrono::steady_clock::now();
  ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() - 1s);
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
  ClientContext stream_context;
  stream_context.set_deadline(std::chrono::steady_clock::now() - 1s);
  auto stream = stub_->Talk(&stream_context);
  EXPECT_FALSE(stream->Write(Msg()));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_LT(MsSince(start), kSlower * 200);
  EXPECT_EQ(runs, 0);
  StopServer();
}

TEST_P(Deadline, EndsACallThatTakesLongerAndCancelsItsHandler) {
  Start();
  Event cancelled;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    cancelled.Set();
    return Status::OK;
  };
  const auto start = std::chrono::steady_clock::now();
  ClientContext context;
  context.set_deadline(In(100ms));
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_GE(MsSince(start), 99);
  EXPECT_LT(MsSince(start), 100 + kSlower * 200);
  EXPECT_TRUE(cancelled.Wait());
  StopServer();
}

TEST_P(Deadline, EndsBlockedReadsAndLaterOperations) {
  Start();
  Event over;
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(context->IsCancelled());
    EXPECT_FALSE(stream->Write(message));
    over.Set();
    return Status(StatusCode::NOT_FOUND, "too late to count");
  };
  {
    ClientContext context;
    context.set_deadline(In(50ms));
    auto stream = stub_->Talk(&context);
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_TRUE(over.Wait());
  }
  {  // Nobody waited when it passed.
    ClientContext context;
    context.set_deadline(In(50ms));
    auto stream = stub_->Talk(&context);
    std::this_thread::sleep_for(100ms);
    EXPECT_FALSE(stream->Write(Msg()));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  }
  {
    ClientContext context;
    context.set_deadline(In(50ms));
    auto stream = stub_->Talk(&context);
    std::this_thread::sleep_for(100ms);
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  }
  StopServer();
}

TEST_P(Deadline, EndsEveryOtherWaitOnBothSides) {
  Start();
  std::atomic<int> over{0};
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    uint32_t size = 0;
    EXPECT_FALSE(stream->NextMessageSize(&size));
    EXPECT_TRUE(context->IsCancelled());
    ++over;
    return Status::OK;
  };
  const std::function<void(ipcrpc::ClientReaderWriter<Msg, Msg>&)> waits[] = {
      [](auto& stream) { stream.WaitForInitialMetadata(); },
      [](auto& stream) {
        uint32_t size = 0;
        EXPECT_FALSE(stream.NextMessageSize(&size));
      },
      [](auto&) {},  // Finish() does
  };
  for (const auto& wait : waits) {
    const int before = over;
    const auto start = std::chrono::steady_clock::now();
    ClientContext context;
    context.set_deadline(In(100ms));
    auto stream = stub_->Talk(&context);
    wait(*stream);
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_GE(MsSince(start), 99);
    EXPECT_LT(MsSince(start), 100 + kSlower * 200);
    EXPECT_TRUE(Eventually([&] { return over == before + 1; }));
  }
  StopServer();
}

TEST_P(Deadline, HandlerThatReturnsTooLateGivesDeadlineExceeded) {
  Start();
  service_.emit = [&](ServerContext* context, const Msg*, ServerEmitter*) {
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    return Status::OK;
  };
  ClientContext context;
  context.set_deadline(In(50ms));
  auto reader = stub_->Emit(&context, Msg());
  std::this_thread::sleep_for(120ms);  // the OK is there when anybody looks
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  StopServer();
}

TEST_P(Deadline, StatusThatCameInTimeStaysWhenLookedAtLater) {
  Start();
  service_.emit = [&](ServerContext*, const Msg*, ServerEmitter*) { return Status(StatusCode::NOT_FOUND, "in time"); };
  ClientContext context;
  context.set_deadline(In(kSlower * 100ms));
  auto reader = stub_->Emit(&context, Msg());
  Msg message;
  EXPECT_FALSE(reader->Read(&message));
  std::this_thread::sleep_for(kSlower * 150ms);
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::NOT_FOUND);
  StopServer();
}

TEST_P(Deadline, TheServerSeesTheClients) {
  Start();
  std::chrono::system_clock::time_point seen;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    seen = context->deadline();
    return Status::OK;
  };
  Msg response;
  const auto deadline = In(5s);
  for (int i = 0; i < 2; ++i) {  // the second knows that the clock is shared
    ClientContext context;
    context.set_deadline(deadline);
    EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
    EXPECT_LT(std::chrono::abs(seen - deadline), kSlower * 100ms);
    EXPECT_LT(std::chrono::abs(context.deadline() - deadline), 1ms);
  }
  ClientContext context;
  EXPECT_EQ(context.deadline(), std::chrono::system_clock::time_point::max());
  EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_EQ(seen, std::chrono::system_clock::time_point::max());
  StopServer();
}

TEST_P(Deadline, PassesOnToNestedCallsUnlessSwitchedOff) {
  Start();
  std::chrono::system_clock::time_point inner;
  service_.unary = [&](ServerContext* context, const Msg* request, Msg* response) {
    if (request->number() == 0) {
      inner = context->deadline();
      return Status::OK;
    }
    ipcrpc::PropagationOptions options;
    if (request->number() == 2) options.disable_deadline_propagation();
    const auto nested = ClientContext::FromServerContext(*context, options);
    return stub_->Unary(nested.get(), Number(0), response);
  };
  const auto deadline = In(10s);
  Msg response;
  ClientContext context;
  context.set_deadline(deadline);
  EXPECT_TRUE(stub_->Unary(&context, Number(1), &response).ok());
  EXPECT_LT(std::chrono::abs(inner - deadline), kSlower * 100ms);
  ClientContext second;
  second.set_deadline(deadline);
  EXPECT_TRUE(stub_->Unary(&second, Number(2), &response).ok());
  EXPECT_EQ(inner, std::chrono::system_clock::time_point::max());
  StopServer();
}

using DeadlineAcrossProcesses = Deadline;

TEST_P(DeadlineAcrossProcesses, FiresWhenTheServerIsStopped) {
  Process server({"serve", address()});
  const auto stub = NewStub();
  Msg response;
  {
    ClientContext context;
    ASSERT_TRUE(stub->Unary(&context, Msg(), &response).ok());
  }
  ClientContext stream_context;
  stream_context.set_deadline(In(kSlower * 300ms));
  auto stream = stub->Talk(&stream_context);
  EXPECT_TRUE(stream->Write(Msg()) && stream->Read(&response));
  server.Stop();
  const auto start = std::chrono::steady_clock::now();
  {
    ClientContext context;
    context.set_deadline(In(100ms));
    EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_LT(MsSince(start), 100 + kSlower * 150);
  }
  {  // On a channel that has to connect first.
    const auto again = std::chrono::steady_clock::now();
    ClientContext context;
    context.set_deadline(In(100ms));
    EXPECT_EQ(NewStub()->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
    EXPECT_LT(MsSince(again), 100 + kSlower * 150);
  }
  const Msg bulk = Data(100'000);
  while (stream->Write(bulk)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  server.Signal(SIGCONT);
  ClientContext context;
  context.set_deadline(In(20s));
  EXPECT_TRUE(stub->Unary(&context, Msg(), &response).ok());
}

BEHAVIOUR_SUITE(Deadline);
BEHAVIOUR_SUITE_ACROSS_PROCESSES(DeadlineAcrossProcesses);

}  // namespace
}  // namespace behaviour
