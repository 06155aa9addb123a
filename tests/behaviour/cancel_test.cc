// Cancellation from either side, at any time, from any thread.
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

class Cancel : public BehaviourTest {};

TEST_P(Cancel, BeforeTheCallFailsItAtOnce) {
  Start();
  std::atomic<int> runs{0};
  service_.unary = [&](ServerContext*, const Msg*, Msg*) { return ++runs, Status::OK; };
  ClientContext context;
  context.TryCancel();
  context.TryCancel();
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  ClientContext stream_context;
  stream_context.TryCancel();
  auto stream = stub_->Talk(&stream_context);
  EXPECT_FALSE(stream->Write(Msg()));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_EQ(runs, 0);
  StopServer();
}

TEST_P(Cancel, DuringAUnaryCallReachesTheHandler) {
  Start();
  Event running, cancelled;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    EXPECT_FALSE(context->IsCancelled());
    running.Set();
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    cancelled.Set();
    return Status::OK;
  };
  ClientContext context;
  std::thread canceller([&] {
    EXPECT_TRUE(running.Wait());
    for (int i = 0; i < 3; ++i) context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  canceller.join();
  EXPECT_TRUE(cancelled.Wait());
  StopServer();
}

TEST_P(Cancel, AfterTheCallDoesNothing) {
  Start();
  ClientContext context;
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Number(3), &response).ok());
  context.TryCancel();
  EXPECT_EQ(response.number(), 3);
  ExpectAlive();
}

TEST_P(Cancel, EndsBlockedReadsOnBothSides) {
  Start();
  Event running, over;
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    running.Set();
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(context->IsCancelled());
    EXPECT_FALSE(stream->Write(message));
    EXPECT_FALSE(stream->Read(&message));
    over.Set();
    return Status::OK;
  };
  ClientContext context;
  auto stream = stub_->Talk(&context);
  std::thread canceller([&] {
    EXPECT_TRUE(running.Wait());
    context.TryCancel();
  });
  Msg message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_FALSE(stream->Write(message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  canceller.join();
  EXPECT_TRUE(over.Wait());
  StopServer();
}

// Whatever they wait for: initial metadata, a message's size, the status.
TEST_P(Cancel, EndsEveryOtherWaitOnBothSides) {
  Start();
  std::atomic<int> running{0}, over{0};
  const auto hold = [&](ServerContext* context, auto* stream) {
    ++running;
    uint32_t size = 0;
    EXPECT_FALSE(stream->NextMessageSize(&size));
    EXPECT_TRUE(context->IsCancelled());
    ++over;
    return Status::OK;
  };
  service_.talk = [&](ServerContext* context, ServerTalk* stream) { return hold(context, stream); };
  service_.collect = [&](ServerContext* context, ServerCollector* reader, Msg*) { return hold(context, reader); };
  const auto cancelled = [&](const std::function<Status(ClientContext&)>& call) {
    const int before = running;
    ClientContext context;
    std::thread canceller([&] {
      EXPECT_TRUE(Eventually([&] { return running > before; }));
      context.TryCancel();
    });
    EXPECT_EQ(call(context).error_code(), StatusCode::CANCELLED);
    canceller.join();
    EXPECT_TRUE(Eventually([&] { return over == running; }));
  };
  Msg response;
  cancelled([&](ClientContext& context) {
    auto stream = stub_->Talk(&context);
    stream->WaitForInitialMetadata();
    return stream->Finish();
  });
  cancelled([&](ClientContext& context) {
    auto stream = stub_->Talk(&context);
    uint32_t size = 0;
    EXPECT_FALSE(stream->NextMessageSize(&size));
    return stream->Finish();
  });
  cancelled([&](ClientContext& context) { return stub_->Talk(&context)->Finish(); });
  cancelled([&](ClientContext& context) { return stub_->Collect(&context, &response)->Finish(); });
  StopServer();
  EXPECT_EQ(over, 4);
}

TEST_P(Cancel, AtAnyMomentFromAnyThreadLeavesTheConnectionWhole) {
  Start();
  std::atomic<int> alive{0};
  service_.talk = [&](ServerContext*, ServerTalk* stream) {
    ++alive;
    Msg message;
    while (stream->Read(&message) && stream->Write(message)) {
    }
    --alive;
    return Status::OK;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        ClientContext context;
        std::thread canceller([&] {
          std::this_thread::sleep_for(std::chrono::microseconds((i * 37 + t * 11) % 400));
          context.TryCancel();
        });
        if (i % 2 == 0) {
          auto stream = stub_->Talk(&context);
          Msg message = Data(i % 3 == 0 ? 20'000 : 10);
          while (stream->Write(message) && stream->Read(&message)) {
          }
          EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
        } else {
          Msg response;
          const Status status = stub_->Unary(&context, Data(i * 3000), &response);
          EXPECT_TRUE(status.ok() || status.error_code() == StatusCode::CANCELLED) << status.error_message();
        }
        canceller.join();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(Eventually([&] { return alive == 0; }));
  ExpectAlive();
  StopServer();
}

TEST_P(Cancel, IsNotSeenWhileTheClientIsFine) {
  Start();
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    Msg message;
    while (stream->Read(&message)) EXPECT_FALSE(context->IsCancelled());
    EXPECT_FALSE(context->IsCancelled());
    EXPECT_TRUE(stream->Write(message));
    EXPECT_FALSE(context->IsCancelled());
    return Status::OK;
  };
  ClientContext context;
  auto stream = stub_->Talk(&context);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(stream->Write(Msg()));
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  StopServer();
}

TEST_P(Cancel, ByTheServerGivesCancelledWhateverTheHandlerReturns) {
  Start();
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    context->TryCancel();
    EXPECT_TRUE(context->IsCancelled());
    return Status::OK;
  };
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    Msg message;
    EXPECT_TRUE(stream->Read(&message));
    context->TryCancel();
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_FALSE(stream->Write(message));
    return Status(StatusCode::NOT_FOUND, "does not count");
  };
  Msg response;
  ClientContext context;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  ClientContext stream_context;
  auto stream = stub_->Talk(&stream_context);
  EXPECT_TRUE(stream->Write(Msg()));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  StopServer();
}

TEST_P(Cancel, PassesOnToNestedCallsUnlessSwitchedOff) {
  Start();
  Event inner_running, inner_over, outer_over;
  std::atomic<bool> propagate{true};
  std::atomic<int> inner_code{-1};
  service_.unary = [&](ServerContext* context, const Msg* request, Msg* response) {
    if (request->number() == 0) {
      inner_running.Set();
      EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
      inner_over.Set();
      return Status::OK;
    }
    ipcrpc::PropagationOptions options;
    if (!propagate) options.disable_cancellation_propagation();
    const auto nested = ClientContext::FromServerContext(*context, options);
    if (!propagate) nested->set_deadline(In(kSlower * 200ms));
    inner_code = stub_->Unary(nested.get(), Number(0), response).error_code();
    outer_over.Set();
    return Status::OK;
  };
  ClientContext context;
  std::thread canceller([&] {
    EXPECT_TRUE(inner_running.Wait());
    context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Number(1), &response).error_code(), StatusCode::CANCELLED);
  canceller.join();
  EXPECT_TRUE(inner_over.Wait() && outer_over.Wait());
  EXPECT_EQ(inner_code, StatusCode::CANCELLED);

  propagate = false;
  ClientContext second;
  second.set_deadline(In(20s));
  EXPECT_TRUE(stub_->Unary(&second, Number(1), &response).ok());
  EXPECT_EQ(inner_code, StatusCode::DEADLINE_EXCEEDED);
  StopServer();
}

TEST_P(Cancel, DroppingAStreamCancelsIt) {
  Start();
  Event collected, emitted, talked;
  service_.collect = [&](ServerContext* context, ServerCollector* reader, Msg*) {
    Msg message;
    while (reader->Read(&message)) {
    }
    EXPECT_TRUE(context->IsCancelled());
    collected.Set();
    return Status::OK;
  };
  service_.emit = [&](ServerContext* context, const Msg*, ServerEmitter* writer) {
    EXPECT_TRUE(writer->Write(Msg()));
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    EXPECT_FALSE(writer->Write(Msg()));
    emitted.Set();
    return Status::OK;
  };
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    Msg message;
    while (stream->Read(&message)) stream->Write(message);
    EXPECT_TRUE(context->IsCancelled());
    EXPECT_FALSE(stream->Write(message));
    talked.Set();
    return Status::OK;
  };
  {
    ClientContext collect, emit, talk;
    Msg message;
    auto writer = stub_->Collect(&collect, &message);
    EXPECT_TRUE(writer->Write(Msg()));
    auto reader = stub_->Emit(&emit, Msg());
    EXPECT_TRUE(reader->Read(&message));
    auto stream = stub_->Talk(&talk);
    EXPECT_TRUE(stream->Write(Msg()) && stream->Read(&message));
  }
  EXPECT_TRUE(collected.Wait() && emitted.Wait() && talked.Wait());
  ExpectAlive();
  StopServer();
}

BEHAVIOUR_SUITE(Cancel);

}  // namespace
}  // namespace behaviour
