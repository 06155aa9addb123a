// Unary calls: their messages, many at once, what goes wrong with them.
#include "fixture.h"

namespace differential {
namespace {

class UnaryTest : public DifferentialTest {};

TEST_F(UnaryTest, EchoesMessagesOfAllSizes) {
  Start();
  for (const size_t bytes : {1, 63, 64, 1000, 16'384, 65'536, 262'144, 1'000'003, 4'000'000}) {
    Msg request = Data(bytes), response;
    for (size_t i = 0; i < bytes; i += 4093) (*request.mutable_data())[i] = static_cast<char>(i);
    ASSERT_TRUE(Call(request, &response).ok()) << bytes;
    ASSERT_EQ(response.data(), request.data());
  }
}

TEST_F(UnaryTest, MessagesOfNoBytesAreMessages) {
  Start();
  int runs = 0;
  service_.unary = [&](ServerContext*, const Msg* request, Msg*) {
    EXPECT_EQ(request->ByteSizeLong(), 0u);
    ++runs;
    return Status::OK;
  };
  Msg response = Number(5);
  EXPECT_TRUE(Call(Msg(), &response).ok());
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(response.ByteSizeLong(), 0u) << "overwritten";
  StopServer();
}

TEST_F(UnaryTest, TheResponseIsOverwrittenNotMergedInto) {
  Start();
  Msg response;
  response.set_text("old");
  response.set_data("old");
  EXPECT_TRUE(Call(Number(3), &response).ok());
  EXPECT_EQ(response.number(), 3);
  EXPECT_EQ(response.text(), "");
  EXPECT_EQ(response.data(), "");
}

TEST_F(UnaryTest, RequestsThatDoNotParseAreInternalAndRunNoHandler) {
  Start();
  std::atomic<int> runs{0};
  service_.unary = [&](ServerContext*, const Msg*, Msg*) { return ++runs, Status::OK; };
  service_.emit = [&](ServerContext*, const Msg*, Emitter*) { return ++runs, Status::OK; };
  EXPECT_EQ(Call(Broken()).error_code(), StatusCode::INTERNAL);
  ClientContext context;
  const auto reader = stub_->Emit(&context, Broken());
  Msg message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(runs, 0);
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(runs, 1);
  StopServer();
}

// Not that of a client-streaming call: it stops gRPC's process.
TEST_F(UnaryTest, ResponsesThatDoNotParseAreErrors) {
  Start();
  service_.unary = [](ServerContext*, const Msg*, Msg* response) {
    *response = Broken();
    return Status::OK;
  };
  service_.emit = [](ServerContext*, const Msg*, Emitter* writer) {
    writer->Write(Broken());
    return Status::OK;
  };
  EXPECT_FALSE(Call().ok());
  Msg message;
  ClientContext emit;
  const auto reader = stub_->Emit(&emit, Msg());
  EXPECT_FALSE(reader->Read(&message));
  reader->Finish().IgnoreError();
  service_.unary = nullptr;
  EXPECT_TRUE(Call().ok());
}

TEST_F(UnaryTest, ManyThreadsOnOneChannel) {
  Start();
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 50; ++i) {
          Msg response;
          if (Call(Number(1000 * t + i), &response).ok() && response.number() == 1000 * t + i) ++right;
        }
      });
    }
  }
  EXPECT_EQ(right, 8 * 50);
}

TEST_F(UnaryTest, HandlersThatBlockHoldUpNobody) {
  Start();
  Event release;
  std::atomic<int> blocked{0};
  service_.unary = [&](ServerContext*, const Msg* request, Msg* response) {
    *response = *request;
    if (request->text() == "block") {
      ++blocked;
      EXPECT_TRUE(release.Wait());
    }
    return Status::OK;
  };
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      Msg request;
      request.set_text("block");
      EXPECT_TRUE(Call(request).ok());
    });
  }
  EXPECT_TRUE(Eventually([&] { return blocked == 6; }));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call(Number(i)).ok());
  release.Set();
  threads.clear();
  StopServer();
}

TEST_F(UnaryTest, HandlersMayCallTheirOwnServer) {
  Start();
  service_.unary = [&](ServerContext*, const Msg* request, Msg* response) {
    if (request->number() > 0) {
      if (const Status status = Call(Number(request->number() - 1), response); !status.ok()) return status;
    }
    response->set_number(response->number() + 1);
    return Status::OK;
  };
  Msg response;
  EXPECT_TRUE(Call(Number(4), &response).ok());
  EXPECT_EQ(response.number(), 5);
  StopServer();
}

TEST_F(UnaryTest, PeersAreNamedOnBothSides) {
  Start();
  std::string peer;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    peer = context->peer();
    EXPECT_NE(context->auth_context(), nullptr);
    if (context->auth_context() != nullptr) {
      context->auth_context()->IsPeerAuthenticated();
      for (const grpc::string_ref& value : context->auth_context()->GetPeerIdentity()) EXPECT_NE(value.size(), 0u);
      EXPECT_TRUE(context->auth_context()->FindPropertyValues("no such property").empty());
    }
    return Status::OK;
  };
  ClientContext context;
  Msg response;
  ASSERT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_NE(context.peer(), "");
  EXPECT_NE(peer, "");
  StopServer();
}

using UnaryDeathTest = UnaryTest;

TEST_F(UnaryDeathTest, ASecondUseOfAContextStopsTheProcess) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  Start();
  EXPECT_DEATH(
      {
        ClientContext context;
        Msg response;
        stub_->Unary(&context, Msg(), &response).IgnoreError();
        stub_->Unary(&context, Msg(), &response).IgnoreError();
      },
      "");
}

}  // namespace
}  // namespace differential
