// Deadlines, at the client and as the server sees them.
#include "fixture.h"

namespace differential {
namespace {

class DeadlineTest : public DifferentialTest {};

TEST_F(DeadlineTest, APassedOneFailsAtOnce) {
  Start();
  Msg message;
  {
    ClientContext context;
    context.set_deadline(In(-1s));
    EXPECT_EQ(stub_->Unary(&context, Msg(), &message).error_code(), StatusCode::DEADLINE_EXCEEDED);
  }
  {
    ClientContext context;
    context.set_deadline(std::chrono::system_clock::time_point());
    const auto stream = stub_->Talk(&context);
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  }
  EXPECT_TRUE(Call().ok());
}

TEST_F(DeadlineTest, EndsTheCallAtBothSides) {
  Start();
  Event over;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    over.Set();
    return Status::OK;
  };
  ClientContext context;
  context.set_deadline(In(200ms));
  Stopwatch watch;
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_GE(watch.ms(), 150);
  EXPECT_LT(watch.ms(), kPromptMs);
  EXPECT_TRUE(over.Wait());
  EXPECT_TRUE(Eventually([&] { return over.set(); }));
  StopServer();
}

TEST_F(DeadlineTest, WakesReadersOnBothSides) {
  Start();
  Event over;
  service_.talk = [&](ServerContext* context, Talker* stream) {
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    EXPECT_FALSE(stream->Write(message));
    over.Set();
    return Status::OK;
  };
  ClientContext context;
  context.set_deadline(In(200ms));
  const auto stream = stub_->Talk(&context);
  Msg message;
  Stopwatch watch;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_LT(watch.ms(), kPromptMs);
  EXPECT_FALSE(stream->Write(message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(over.Wait());
  StopServer();
}

TEST_F(DeadlineTest, TheServerSeesTheClients) {
  Start();
  std::chrono::system_clock::time_point seen;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    seen = context->deadline();
    return Status::OK;
  };
  const auto deadline = In(kLimit);
  ClientContext context;
  context.set_deadline(deadline);
  EXPECT_LT(context.deadline(), deadline + 100ms);
  EXPECT_GT(context.deadline(), deadline - 100ms);
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_LT(seen, deadline + 1s);
  EXPECT_GT(seen, deadline - 1s);
  StopServer();
}

TEST_F(DeadlineTest, NoneReadsAsTheEndOfTimeOnBothSides) {
  Start();
  std::chrono::system_clock::time_point seen;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    seen = context->deadline();
    return Status::OK;
  };
  ClientContext context;
  EXPECT_EQ(context.deadline(), std::chrono::system_clock::time_point::max());
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_EQ(seen, std::chrono::system_clock::time_point::max());
  StopServer();
}

TEST_F(DeadlineTest, BoundsWaitingForAServer) {
  const auto stub = Methods::NewStub(Connect(address()));
  ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(In(200ms));
  Stopwatch watch;
  Msg response;
  EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_GE(watch.ms(), 150);
  EXPECT_LT(watch.ms(), kPromptMs);
}

TEST_F(DeadlineTest, FarAwayOnesChangeNothing) {
  Start();
  for (const auto deadline : {std::chrono::system_clock::time_point::max(), In(std::chrono::hours(24 * 365 * 10))}) {
    ClientContext context;
    context.set_deadline(deadline);
    Msg response;
    EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  }
}

// Client and server end the same call at about the same time; all that may come of it is one of these two.
TEST_F(DeadlineTest, RacesWithTheAnswerEndOneWayOrTheOther) {
  Start();
  service_.unary = [](ServerContext*, const Msg*, Msg*) {
    std::this_thread::sleep_for(5ms);
    return Status::OK;
  };
  for (int i = 0; i < 20; ++i) {
    ClientContext context;
    context.set_deadline(In(5ms));
    Msg response;
    EXPECT_THAT(stub_->Unary(&context, Msg(), &response).error_code(), AnyOf(StatusCode::OK, StatusCode::DEADLINE_EXCEEDED));
  }
  EXPECT_TRUE(Call().ok());
}

}  // namespace
}  // namespace differential
