// How calls of coroutines end before their time, and many of them at once.
#include "tests/behaviour/coroutine_kit.h"

namespace behaviour {
namespace {

class CoroutineEnd : public CoroutineTest {
 protected:
  // Handlers that wait for more of their client, and count those of them that have begun and ended.
  void StartWaitingHandlers() {
    coroutine_service_.talk = [this](CallbackServerContext* context, CoroutineTalk* stream) -> Task<Status> {
      ++begun_;
      Msg message;
      while (co_await stream->Read(&message)) {
      }
      if (context->IsCancelled()) ++cancelled_;
      const bool wrote = co_await stream->Write(message);
      EXPECT_NE(wrote, context->IsCancelled());
      ++ended_;
      co_return Status::OK;
    };
    StartCoroutines();
  }

  std::atomic<int> begun_{0}, cancelled_{0}, ended_{0};
};

TEST_P(CoroutineEnd, TheClientCancels) {
  StartWaitingHandlers();
  ClientContext context;
  std::thread canceller([&] {
    EXPECT_TRUE(Eventually([&] { return begun_ == 1; }));
    context.TryCancel();
  });
  const auto talk = [&]() -> Task<> {
    auto call = stub_->co()->Talk(&context);
    Msg message;
    EXPECT_FALSE(co_await call.Read(&message));
    EXPECT_FALSE(co_await call.Write(message));
    const Status status = co_await call.Finish();
    EXPECT_EQ(status.error_code(), StatusCode::CANCELLED);
  };
  SyncWait(talk());
  canceller.join();
  context.TryCancel();  // and after
  EXPECT_TRUE(Eventually([&] { return cancelled_ == 1 && ended_ == 1; }));
  ExpectAlive();
}

TEST_P(CoroutineEnd, CancelledBeforeItBegins) {
  StartWaitingHandlers();
  ClientContext contexts[2];
  for (ClientContext& context : contexts) context.TryCancel();
  const auto calls = [&]() -> Task<> {
    Msg message;
    const Status unary = co_await stub_->co()->Unary(&contexts[0], message, &message);
    EXPECT_EQ(unary.error_code(), StatusCode::CANCELLED);
    auto call = stub_->co()->Talk(&contexts[1]);
    EXPECT_FALSE(co_await call.ReadInitialMetadata());
    EXPECT_FALSE(co_await call.Write(message));
    const Status talk = co_await call.Finish();
    EXPECT_EQ(talk.error_code(), StatusCode::CANCELLED);
  };
  SyncWait(calls());
  EXPECT_EQ(begun_, 0);
}

TEST_P(CoroutineEnd, TheServerCancels) {
  StartCoroutines();
  coroutine_service_.unary = [](CallbackServerContext* context, const Msg*, Msg*) -> Task<Status> {
    context->TryCancel();
    co_return Status::OK;
  };
  EXPECT_EQ(SyncWait(Echo(1)), StatusCode::CANCELLED);
}

TEST_P(CoroutineEnd, DeadlinesEndAwaits) {
  StartWaitingHandlers();
  coroutine_service_.unary = [this](CallbackServerContext* context, const Msg*, Msg*) -> Task<Status> {
    // A handler that waits for something of its own: for a call to itself, which inherits the deadline.
    const auto nested = ClientContext::FromCallbackServerContext(*context);
    auto call = stub_->co()->Talk(nested.get());
    Msg message;
    while (co_await call.Read(&message)) {
    }
    co_return co_await call.Finish();
  };
  const auto start = std::chrono::steady_clock::now();
  SyncWait([](Methods::Stub* stub) -> Task<> {
    Msg message;
    ClientContext contexts[2];
    for (ClientContext& context : contexts) context.set_deadline(In(200ms));
    const Status unary = co_await stub->co()->Unary(&contexts[0], message, &message);
    EXPECT_EQ(unary.error_code(), StatusCode::DEADLINE_EXCEEDED);
    auto call = stub->co()->Talk(&contexts[1]);
    EXPECT_FALSE(co_await call.Read(&message));
    const Status talk = co_await call.Finish();
    EXPECT_EQ(talk.error_code(), StatusCode::DEADLINE_EXCEEDED);
  }(stub_.get()));
  EXPECT_GE(MsSince(start), 190);
  EXPECT_LT(MsSince(start), 5000 * kSlower);
  EXPECT_TRUE(Eventually([&] { return begun_ == ended_; }));
}

TEST_P(CoroutineEnd, AHandlerReturnsEarly) {
  StartCoroutines();
  coroutine_service_.talk = [](CallbackServerContext*, CoroutineTalk* stream) -> Task<Status> {
    Msg message;
    co_await stream->Read(&message);
    co_return Status(StatusCode::OUT_OF_RANGE, "enough");
  };
  SyncWait([](Methods::Stub* stub) -> Task<> {
    ClientContext context;
    auto call = stub->co()->Talk(&context);
    const Msg message = Data(1000);
    while (co_await call.Write(message)) {
    }
    const Status status = co_await call.Finish();
    EXPECT_EQ(status.error_code(), StatusCode::OUT_OF_RANGE);
    EXPECT_EQ(status.error_message(), "enough");
  }(stub_.get()));
  ExpectAlive();
}

// A stream that goes without Finish(), where a reaction has resumed its coroutine and where not.
TEST_P(CoroutineEnd, AStreamThatIsDroppedIsCancelled) {
  StartWaitingHandlers();
  SyncWait([](Methods::Stub* stub) -> Task<> {
    ClientContext context;
    auto call = stub->co()->Talk(&context);
    const Msg message;
    EXPECT_TRUE(co_await call.Write(message));
  }(stub_.get()));
  for (int i = 0; i < 10; ++i) {
    ClientContext context;
    auto call = stub_->co()->Talk(&context);
    auto moved = std::move(call);
  }
  EXPECT_TRUE(Eventually([&] { return begun_ == ended_ && cancelled_ >= 1; }));
  EXPECT_EQ(cancelled_, begun_);
  SyncWait([](Methods::Stub* stub) -> Task<> {
    ClientContext context;
    const Msg request = Number(1'000'000);
    auto call = stub->co()->Emit(&context, request);
    Msg message;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await call.Read(&message));
  }(stub_.get()));
  ExpectAlive();
}

// What is not read does not hold up the end.
TEST_P(CoroutineEnd, FinishDropsWhatIsNotRead) {
  StartCoroutines();
  coroutine_service_.emit = [](CallbackServerContext*, const Msg*, CoroutineEmitter* writer) -> Task<Status> {
    const Msg message = Data(50'000);
    for (int i = 0; i < 200; ++i) {
      if (!co_await writer->Write(message)) co_return Status(StatusCode::ABORTED, "a write failed");
    }
    co_return Status(StatusCode::DATA_LOSS, "all written");
  };
  SyncWait([](Methods::Stub* stub) -> Task<> {
    ClientContext context;
    Msg message;
    auto call = stub->co()->Emit(&context, message);
    EXPECT_TRUE(co_await call.Read(&message));
    const Status status = co_await call.Finish();
    EXPECT_EQ(status.error_code(), StatusCode::DATA_LOSS) << status.error_message();
  }(stub_.get()));
}

// A task that waits for its call is destroyed with its contexts and messages.
TEST_P(CoroutineEnd, ATaskIsDestroyedInMidCall) {
  StartWaitingHandlers();
  std::atomic<std::coroutine_handle<>> handler{};
  coroutine_service_.unary = [&](CallbackServerContext*, const Msg* request, Msg* response) -> Task<Status> {
    *response = *request;
    co_await Suspended{&handler};
    co_return Status::OK;
  };
  // Its own starter, so that the task may go at any time; nothing resumes a call that is not answered.
  const auto start = [](const auto& task, ipcrpc::internal::Join& join) { ipcrpc::internal::Start(task, &join, nullptr); };
  {
    ipcrpc::internal::Join join;
    Task<StatusCode> echo = Echo(5);
    start(echo, join);
    ASSERT_TRUE(Eventually([&] { return handler.load() != nullptr; }));
  }
  handler.load().resume();  // its answer finds nobody
  {
    ipcrpc::internal::Join join;
    Task<> read = [](Methods::Stub* stub) -> Task<> {
      ClientContext context;
      auto call = stub->co()->Talk(&context);
      Msg message;
      co_await call.Read(&message);
    }(stub_.get());
    start(read, join);
    ASSERT_TRUE(Eventually([&] { return begun_ == 1; }));
  }
  {
    ipcrpc::internal::Join join;
    Task<> finish = [](Methods::Stub* stub) -> Task<> {
      ClientContext context;
      auto call = stub->co()->Talk(&context);
      co_await call.Finish();
    }(stub_.get());
    start(finish, join);
    ASSERT_TRUE(Eventually([&] { return begun_ == 2; }));
  }
  EXPECT_TRUE(Eventually([&] { return cancelled_ == 2 && ended_ == 2; }));
  ExpectAlive();
  StopServer();
}

TEST_P(CoroutineEnd, AReaderThatDoesNotReadStopsItsWriterAlone) {
  StartCoroutines();
  std::atomic<int> written{0};
  constexpr int kMessages = 400;
  coroutine_service_.emit = [&](CallbackServerContext*, const Msg*, CoroutineEmitter* writer) -> Task<Status> {
    const Msg message = Data(100'000);
    for (; written < kMessages; ++written) {
      if (!co_await writer->Write(message)) co_return Status(StatusCode::ABORTED, "a write failed");
    }
    co_return Status::OK;
  };
  const auto read = [&]() -> Task<> {
    ClientContext context;
    Msg message;
    auto call = stub_->co()->Emit(&context, message);
    EXPECT_TRUE(co_await call.ReadInitialMetadata());
    // It comes to rest, with a few MB on the way; the neighbour goes on.
    int seen = -1;
    EXPECT_TRUE(Eventually([&] {
      std::this_thread::sleep_for(50ms);
      const int before = std::exchange(seen, written.load());
      return before == seen && seen > 0;
    }));
    EXPECT_LT(seen * 100'000, 8'000'000);
    EXPECT_EQ(co_await PingPong(50), StatusCode::OK);
    int got = 0;
    while (co_await call.Read(&message)) ++got;
    EXPECT_EQ(got, kMessages);
    const Status status = co_await call.Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  };
  SyncWait(read());
  StopServer();
}

TEST_P(CoroutineEnd, AThousandStreamsNeedNoThreads) {
  StartCoroutines();
  ASSERT_EQ(SyncWait(PingPong(1)), StatusCode::OK);
  const size_t before = Holdings::Now().threads;
  std::atomic<int> ended{0}, good{0};
  constexpr int kStreams = 1000;
  const auto talk = [&]() -> Task<> {
    if (co_await PingPong(20) == StatusCode::OK) ++good;
  };
  for (int i = 0; i < kStreams; ++i) {
    ipcrpc::Spawn(talk(), [&ended](const std::exception_ptr& thrown) {
      EXPECT_EQ(thrown, nullptr);
      ++ended;
    });
  }
  size_t most = 0;
  EXPECT_TRUE(Eventually(
      [&] {
        most = std::max(most, Holdings::Now().threads);
        return ended == kStreams;
      },
      60s));
  EXPECT_EQ(good, kStreams);
  // A few may have relieved pollers that lost their processor in the midst of a task.
  EXPECT_LE(most, before + 8 * kSlower);
}

BEHAVIOUR_SUITE(CoroutineEnd);

}  // namespace
}  // namespace behaviour
