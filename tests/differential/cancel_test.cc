// Cancellation by either side, at every moment, and how it passes on.
#include "fixture.h"

namespace differential {
namespace {

class CancelTest : public DifferentialTest {
 protected:
  // Handlers that say when they run and wait for the end of their call.
  void ServeWaiting() {
    service_.unary = [this](ServerContext* context, const Msg*, Msg*) {
      EXPECT_FALSE(context->IsCancelled());
      running_.Set();
      EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
      over_.Set();
      return Status::OK;
    };
    service_.talk = [this](ServerContext* context, Talker* stream) {
      stream->Write(Msg());
      running_.Set();
      Msg message;
      while (stream->Read(&message)) {
      }
      EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
      EXPECT_FALSE(stream->Write(message));
      over_.Set();
      return Status::OK;
    };
  }

  Event running_, over_;
};

TEST_F(CancelTest, BeforeTheCallEndsItAtOnce) {
  Start();
  std::atomic<int> runs{0};
  service_.unary = [&](ServerContext*, const Msg*, Msg*) { return ++runs, Status::OK; };
  Msg message;
  ClientContext unary, talk;
  unary.TryCancel();
  EXPECT_EQ(stub_->Unary(&unary, Msg(), &message).error_code(), StatusCode::CANCELLED);
  talk.TryCancel();
  const auto stream = stub_->Talk(&talk);
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(runs, 1);
  StopServer();
}

TEST_F(CancelTest, DuringAUnaryCall) {
  Start();
  ServeWaiting();
  ClientContext context;
  std::jthread canceller([&] {
    EXPECT_TRUE(running_.Wait());
    for (int i = 0; i < 3; ++i) context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(over_.Wait()) << "the server learns of it";
  StopServer();
}

TEST_F(CancelTest, DuringAStreamWakesItsReader) {
  Start();
  ServeWaiting();
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  Msg message;
  EXPECT_TRUE(stream->Read(&message));
  std::jthread canceller([&] {
    std::this_thread::sleep_for(50ms);
    context.TryCancel();
  });
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_FALSE(stream->Write(message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(over_.Wait());
  StopServer();
}

TEST_F(CancelTest, AfterTheCallDoesNothing) {
  Start();
  ClientContext unary, talk;
  Msg message;
  EXPECT_TRUE(stub_->Unary(&unary, Msg(), &message).ok());
  unary.TryCancel();
  const auto stream = stub_->Talk(&talk);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  talk.TryCancel();
  EXPECT_TRUE(Call().ok());
}

TEST_F(CancelTest, FromManyThreadsWhileCallsComeAndGo) {
  Start();
  for (int i = 0; i < 30; ++i) {
    ClientContext context;
    std::vector<std::jthread> cancellers;
    for (int t = 0; t < 2; ++t) cancellers.emplace_back([&] { context.TryCancel(); });
    Msg response;
    EXPECT_THAT(stub_->Unary(&context, Msg(), &response).error_code(), AnyOf(StatusCode::OK, StatusCode::CANCELLED));
  }
  EXPECT_TRUE(Call().ok());
}

TEST_F(CancelTest, HandlersOfLivingClientsAreNotCancelled) {
  Start();
  service_.unary = [](ServerContext* context, const Msg*, Msg*) {
    for (int i = 0; i < 50; ++i) {
      EXPECT_FALSE(context->IsCancelled());
      std::this_thread::sleep_for(1ms);
    }
    return Status::OK;
  };
  EXPECT_TRUE(Call().ok());
  StopServer();
}

TEST_F(CancelTest, TheServersCancellationCountsWhateverItsHandlerReturns) {
  Start();
  service_.unary = [](ServerContext* context, const Msg*, Msg*) {
    context->TryCancel();
    return Status::OK;
  };
  service_.talk = [](ServerContext* context, Talker* stream) {
    Msg message;
    EXPECT_TRUE(stream->Read(&message));
    context->TryCancel();
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_FALSE(stream->Write(message));
    return Status(StatusCode::ABORTED, "another one");
  };
  EXPECT_EQ(Call().error_code(), StatusCode::CANCELLED);
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  Msg message;
  EXPECT_TRUE(stream->Write(message));
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  ExpectAlive();
  StopServer();
}

TEST_F(CancelTest, TheServersCancellationWakesItsOwnReader) {
  Start();
  service_.talk = [](ServerContext* context, Talker* stream) {
    std::jthread canceller([&] {
      std::this_thread::sleep_for(50ms);
      context->TryCancel();
    });
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    return Status::OK;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  Msg message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  StopServer();
}

// A server that calls another one on behalf of its client.
class PropagationTest : public CancelTest {
 protected:
  ~PropagationTest() override {
    StopServer();
    if (inner_server_ != nullptr) inner_server_->Shutdown(In(0ms));
  }

  void StartBoth(const grpc::PropagationOptions& options = grpc::PropagationOptions()) {
    inner_address_ = FreshAddress();
    inner_.unary = [this](ServerContext* context, const Msg*, Msg*) {
      inner_deadline_ = context->deadline();
      inner_running_.Set();
      while (!context->IsCancelled() && !release_.set()) std::this_thread::sleep_for(1ms);
      inner_cancelled_ = context->IsCancelled();
      inner_over_.Set();
      return Status::OK;
    };
    inner_server_ = Serve(inner_address_, &inner_);
    inner_stub_ = Methods::NewStub(Connect(inner_address_));
    service_.unary = [this, options](ServerContext* context, const Msg*, Msg* response) {
      const std::unique_ptr<ClientContext> nested = ClientContext::FromServerContext(*context, options);
      nested_status_ = inner_stub_->Unary(nested.get(), Msg(), response);
      outer_over_.Set();
      return nested_status_;
    };
    Start();
  }

  std::string inner_address_;
  LambdaService inner_;
  std::unique_ptr<grpc::Server> inner_server_;
  std::unique_ptr<Methods::Stub> inner_stub_;
  Event inner_running_, inner_over_, outer_over_, release_;
  std::atomic<bool> inner_cancelled_{false};
  std::chrono::system_clock::time_point inner_deadline_;
  Status nested_status_;
};

TEST_F(PropagationTest, CancellationPassesOn) {
  StartBoth();
  ClientContext context;
  std::jthread canceller([&] {
    EXPECT_TRUE(inner_running_.Wait());
    context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(inner_over_.Wait() && outer_over_.Wait());
  EXPECT_TRUE(inner_cancelled_);
  EXPECT_EQ(nested_status_.error_code(), StatusCode::CANCELLED);
}

TEST_F(PropagationTest, CancellationCanBeKeptBack) {
  StartBoth(grpc::PropagationOptions().disable_cancellation_propagation());
  ClientContext context;
  std::jthread canceller([&] {
    EXPECT_TRUE(inner_running_.Wait());
    context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  EXPECT_FALSE(inner_over_.Wait(200ms));
  release_.Set();
  EXPECT_TRUE(inner_over_.Wait() && outer_over_.Wait());
  EXPECT_FALSE(inner_cancelled_);
  EXPECT_TRUE(nested_status_.ok());
}

TEST_F(PropagationTest, DeadlinesPassOn) {
  StartBoth();
  release_.Set();
  ClientContext context;
  const auto deadline = In(kLimit);
  context.set_deadline(deadline);
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_LT(inner_deadline_, deadline + 500ms);
  EXPECT_GT(inner_deadline_, deadline - kLimit / 2);
}

TEST_F(PropagationTest, DeadlinesCanBeKeptBack) {
  StartBoth(grpc::PropagationOptions().disable_deadline_propagation());
  release_.Set();
  ClientContext context;
  context.set_deadline(In(kLimit));
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_EQ(inner_deadline_, std::chrono::system_clock::time_point::max());
}

}  // namespace
}  // namespace differential
