// Limits of message sizes: exact, on both sides, and harmless to all else.
#include "fixture.h"

namespace differential {
namespace {

constexpr size_t kDefault = 4 * 1024 * 1024;

class LimitsTest : public DifferentialTest {
 protected:
  // Answers with a message of as many bytes as the request's number says.
  void AnswerOfAskedSize() {
    service_.unary = [](ServerContext*, const Msg* request, Msg* response) {
      *response = OfSize(static_cast<size_t>(request->number()));
      return Status::OK;
    };
    service_.emit = [](ServerContext*, const Msg* request, Emitter* writer) {
      writer->Write(OfSize(10));
      writer->Write(OfSize(static_cast<size_t>(request->number())));
      return Status::OK;
    };
  }

  // `violate` fails with RESOURCE_EXHAUSTED while a stream on the same channel goes on.
  void ExpectHarmless(const std::function<Status()>& violate) {
    ClientContext context;
    const auto bystander = stub_->Talk(&context);
    Msg message;
    EXPECT_TRUE(bystander->Write(Number(1)) && bystander->Read(&message));
    EXPECT_EQ(violate().error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_TRUE(bystander->Write(Number(2)) && bystander->Read(&message));
    EXPECT_EQ(message.number(), 2);
    EXPECT_TRUE(bystander->WritesDone());
    EXPECT_TRUE(bystander->Finish().ok());
  }

  // The status of a call that streams a small message and one of this size, in either direction.
  Status Upload(size_t bytes) {
    ClientContext context;
    Msg response;
    const auto writer = stub_->Collect(&context, &response);
    writer->Write(OfSize(10));
    writer->Write(OfSize(bytes));
    writer->WritesDone();
    return writer->Finish();
  }
  Status Exchange(size_t bytes) {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    Msg message;
    EXPECT_TRUE(stream->Write(OfSize(10)) && stream->Read(&message));
    stream->Write(OfSize(bytes));
    stream->WritesDone();
    while (stream->Read(&message)) {
    }
    return stream->Finish();
  }
  Status Download(size_t bytes) {
    ClientContext context;
    const auto reader = stub_->Emit(&context, Number(static_cast<int64_t>(bytes)));
    Msg message;
    EXPECT_TRUE(reader->Read(&message));
    while (reader->Read(&message)) {
    }
    return reader->Finish();
  }
};

TEST_F(LimitsTest, TheServerReceivesFourMebibytesByDefault) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  Start({}, arguments);
  EXPECT_TRUE(Call(OfSize(kDefault)).ok());
  ExpectHarmless([&] { return Call(OfSize(kDefault + 1)); });
  EXPECT_TRUE(Upload(kDefault).ok());
  ExpectHarmless([&] { return Upload(kDefault + 1); });
  ExpectHarmless([&] { return Exchange(kDefault + 1); });
  ExpectAlive();
}

TEST_F(LimitsTest, TheClientReceivesFourMebibytesByDefault) {
  Start();
  AnswerOfAskedSize();
  EXPECT_TRUE(Call(Number(kDefault)).ok());
  ExpectHarmless([&] { return Call(Number(kDefault + 1)); });
  EXPECT_TRUE(Download(kDefault).ok());
  ExpectHarmless([&] { return Download(kDefault + 1); });
  ExpectAlive();
}

TEST_F(LimitsTest, ReceiveLimitsCanBeSet) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(2000);
  Start([](grpc::ServerBuilder& builder) { builder.SetMaxReceiveMessageSize(1000); }, arguments);
  EXPECT_TRUE(Call(OfSize(1000)).ok());
  ExpectHarmless([&] { return Call(OfSize(1001)); });
  ExpectHarmless([&] { return Exchange(1001); });
  AnswerOfAskedSize();
  EXPECT_TRUE(Call(Number(2000)).ok());
  ExpectHarmless([&] { return Call(Number(2001)); });
  ExpectHarmless([&] { return Download(2001); });
}

TEST_F(LimitsTest, ReceivingCanBeUnlimited) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  Start([](grpc::ServerBuilder& builder) { builder.SetMaxReceiveMessageSize(-1); }, arguments);
  Msg request = Data(9'000'000), response;
  EXPECT_TRUE(Call(request, &response).ok());
  EXPECT_EQ(response.data(), request.data());
}

TEST_F(LimitsTest, TheClientMayLimitWhatItSends) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(1000);
  Start({}, arguments);
  EXPECT_TRUE(Call(OfSize(1000)).ok());
  ExpectHarmless([&] { return Call(OfSize(1001)); });
  EXPECT_TRUE(Upload(1000).ok());
  ExpectHarmless([&] { return Upload(1001); });
  ExpectHarmless([&] { return Exchange(1001); });
}

TEST_F(LimitsTest, TheServerMayLimitWhatItSends) {
  Start([](grpc::ServerBuilder& builder) { builder.SetMaxSendMessageSize(1000); });
  AnswerOfAskedSize();
  EXPECT_TRUE(Call(Number(1000)).ok());
  ExpectHarmless([&] { return Call(Number(1001)); });
  EXPECT_TRUE(Download(1000).ok());
  ExpectHarmless([&] { return Download(1001); });
}

}  // namespace
}  // namespace differential
