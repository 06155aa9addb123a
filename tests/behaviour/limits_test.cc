// Limits of message sizes: exact, in every shape of call and on either side, and harmless to all else on the connection.
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

class Limits : public BehaviourTest {
 protected:
  static constexpr int kLimit = 1000;

  // A message of so many bytes.
  static Msg OfSize(size_t bytes) {
    const Msg message = Data(bytes - (bytes < 130 ? 2 : 3));  // a tag and a length
    EXPECT_EQ(message.ByteSizeLong(), bytes);
    return message;
  }

  // Answers with a message of as many bytes as the request's number says.
  static Msg AnswerTo(const Msg& request) { return request.number() == 0 ? Msg() : OfSize(static_cast<size_t>(request.number())); }

  void StartAnswering(const std::function<void(ipcrpc::ServerBuilder&)>& configure, const ipcrpc::ChannelArguments& arguments) {
    service_.unary = [](ServerContext*, const Msg* request, Msg* response) { return *response = AnswerTo(*request), Status::OK; };
    service_.collect = [](ServerContext*, ServerCollector* reader, Msg* response) {
      Msg last;
      while (reader->Read(&last)) {
      }
      return *response = AnswerTo(last), Status::OK;
    };
    service_.emit = [this](ServerContext*, const Msg* request, ServerEmitter* writer) {
      EXPECT_TRUE(writer->Write(Msg()));
      if (!writer->Write(AnswerTo(*request))) ++failed_writes_;
      return Status::OK;
    };
    service_.talk = [this](ServerContext*, ServerTalk* stream) {
      for (Msg message; stream->Read(&message);) {
        if (!stream->Write(AnswerTo(message))) ++failed_writes_;
      }
      return Status::OK;
    };
    Start(configure, arguments);
  }

  // How calls of the four shapes end that carry this; a stream has carried a message before.
  std::vector<Status> CallsWith(const Msg& message) {
    std::vector<Status> ends;
    Msg response;
    ClientContext unary, collect, emit, talk;
    ends.push_back(stub_->Unary(&unary, message, &response));
    auto writer = stub_->Collect(&collect, &response);
    EXPECT_TRUE(writer->Write(Msg()));
    client_wrote_ = writer->Write(message);
    writer->WritesDone();
    ends.push_back(writer->Finish());
    auto reader = stub_->Emit(&emit, message);
    while (reader->Read(&response)) {
    }
    ends.push_back(reader->Finish());
    auto stream = stub_->Talk(&talk);
    EXPECT_TRUE(stream->Write(Msg()) && stream->Read(&response));
    EXPECT_EQ(stream->Write(message), client_wrote_);
    stream->WritesDone();
    while (stream->Read(&response)) {
    }
    ends.push_back(stream->Finish());
    return ends;
  }

  // With another stream on the same connection, before and after.
  void ExpectExactAndHarmless(const Msg& largest, const Msg& too_large) {
    ClientContext context;
    auto bystander = stub_->Talk(&context);
    Msg message;
    ASSERT_TRUE(bystander->Write(Number(10)) && bystander->Read(&message));
    for (const Status& end : CallsWith(largest)) EXPECT_TRUE(end.ok()) << end.error_message();
    for (const Status& end : CallsWith(too_large)) EXPECT_EQ(end.error_code(), StatusCode::RESOURCE_EXHAUSTED) << end.error_message();
    ASSERT_TRUE(bystander->Write(Number(20)) && bystander->Read(&message));
    EXPECT_EQ(message.ByteSizeLong(), 20u);
    EXPECT_TRUE(bystander->WritesDone());
    EXPECT_TRUE(bystander->Finish().ok());
    ExpectAlive();
  }

  std::atomic<int> failed_writes_{0};  // of handlers
  bool client_wrote_ = false;          // whether the client's last write was taken
};

TEST_P(Limits, OfWhatTheClientSends) {
  ipcrpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(kLimit);
  StartAnswering({}, arguments);
  ExpectExactAndHarmless(OfSize(kLimit), OfSize(kLimit + 1));
  EXPECT_FALSE(client_wrote_);
  StopServer();
}

TEST_P(Limits, OfWhatTheClientReceives) {
  ipcrpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kLimit);
  StartAnswering({}, arguments);
  ExpectExactAndHarmless(Number(kLimit), Number(kLimit + 1));
  StopServer();
}

TEST_P(Limits, OfWhatTheServerSends) {
  StartAnswering([](ipcrpc::ServerBuilder& builder) { builder.SetMaxSendMessageSize(kLimit); }, {});
  ExpectExactAndHarmless(Number(kLimit), Number(kLimit + 1));
  StopServer();
  EXPECT_EQ(failed_writes_, 2);
}

TEST_P(Limits, OfWhatTheServerReceives) {
  StartAnswering([](ipcrpc::ServerBuilder& builder) { builder.SetMaxReceiveMessageSize(kLimit); }, {});
  ExpectExactAndHarmless(OfSize(kLimit), OfSize(kLimit + 1));
  StopServer();
}

TEST_P(Limits, SendingIsUnlimitedAndTheRestMayBe) {
  for (const bool said : {false, true}) {
    const auto place = NewPlace();
    ipcrpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    if (said) arguments.SetMaxSendMessageSize(-1);
    const auto server = Serve(service_, place->server(), [&](ipcrpc::ServerBuilder& builder) {
      builder.SetMaxReceiveMessageSize(-1);
      if (said) builder.SetMaxSendMessageSize(-1);
    });
    ASSERT_NE(server, nullptr);
    const auto stub = Methods::NewStub(ipcrpc::CreateCustomChannel(place->client(), ipcrpc::InsecureChannelCredentials(), arguments));
    const Msg large = Data(6'000'000);
    Msg response;
    ClientContext unary, talk;
    EXPECT_TRUE(stub->Unary(&unary, large, &response).ok());
    EXPECT_EQ(response.data(), large.data());
    auto stream = stub->Talk(&talk);
    std::thread writer([&] { stream->WriteLast(large, ipcrpc::WriteOptions()); });
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.data(), large.data());
    writer.join();
    EXPECT_TRUE(stream->Finish().ok());
  }
}

BEHAVIOUR_SUITE(Limits);

}  // namespace
}  // namespace behaviour
