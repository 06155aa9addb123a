// Unary calls: statuses, messages, sizes, what goes wrong on either side.
#include <stdexcept>

#include "ipcrpc/support/error_details.h"
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

class Unary : public BehaviourTest {
 protected:
  Status Call(const Msg& request, Msg* response = nullptr) {
    Msg unused;
    ClientContext context;
    context.set_deadline(In(60s));
    return stub_->Unary(&context, request, response == nullptr ? &unused : response);
  }
};

// A call with bytes of one's own, to a name of one's own.
Status RawCall(Channel* channel, const char* method, const std::string& bytes) {
  ipcrpc::internal::OutgoingMessage request = {
      .message = &bytes,
      .size = [](const void* message) { return static_cast<const std::string*>(message)->size(); },
      .write = [](const void* message, std::byte* out, size_t size) {
        std::memcpy(out, static_cast<const std::string*>(message)->data(), size);
      }};
  ipcrpc::internal::IncomingMessage response = {.message = nullptr, .parse = [](void*, const std::byte*, size_t) { return true; }};
  ClientContext context;
  context.set_deadline(In(20s));
  return ipcrpc::internal::BlockingUnaryCall(
      channel, ipcrpc::internal::RpcMethod(method, ipcrpc::internal::RpcMethod::NORMAL_RPC), &context, request, response);
}

TEST_P(Unary, EchoesMessagesOfAllSizesUpToTenMebibytes) {
  ipcrpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  Start([](ipcrpc::ServerBuilder& builder) { builder.SetMaxReceiveMessageSize(16 << 20); }, arguments);
  for (const size_t bytes : {0, 1, 63, 64, 1000, 16'000, 16'200, 16'300, 16'384, 65'472, 65'536, 262'000, 262'144, 300'000, 1'048'576,
                             3'000'001, 10 << 20}) {
    Msg request = Data(bytes), response;
    if (bytes > 2) (*request.mutable_data())[bytes / 2] = '!';
    response.set_text("to be overwritten, not merged into");
    const Status status = Call(request, &response);
    ASSERT_TRUE(status.ok()) << bytes << ": " << status.error_message();
    EXPECT_EQ(response.data(), request.data()) << bytes;
    EXPECT_EQ(response.text(), "") << bytes;
  }
}

TEST_P(Unary, StatusReachesTheClientByteForByte) {
  Start();
  const std::string everything = std::string("  \0\1\x7f", 5) + " %41 %zz äöü \xf0\x9f\x90\xa7\t\r\n  trailing  ";
  std::string details;
  for (int i = 0; i < 1024; ++i) details.push_back(static_cast<char>(i * 7));
  for (int code = 1; code <= 16; ++code) {
    service_.unary = [&](ServerContext*, const Msg*, Msg* response) {
      response->set_text("must not be delivered");
      return Status(static_cast<StatusCode>(code), everything, details);
    };
    Msg response;
    response.set_text("untouched");
    const Status status = Call(Msg(), &response);
    EXPECT_EQ(status.error_code(), code);
    EXPECT_EQ(status.error_message(), everything);
    EXPECT_EQ(status.error_details(), details);
    EXPECT_EQ(response.text(), "untouched");
  }
  StopServer();
}

TEST_P(Unary, LimitsPassExactlyAndFailWithOneByteMore) {
  // A Msg with only data has 5 bytes of overhead at these sizes.
  constexpr size_t kDefault = 4 << 20;
  Start();
  // The server's receive limit, and the client's with it.
  Msg request = Data(kDefault - 5);
  ASSERT_EQ(request.ByteSizeLong(), kDefault);
  Msg response;
  Status status = Call(request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.data().size(), request.data().size());
  status = Call(Data(kDefault - 4));
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  // The client's alone.
  size_t answer = 0;
  service_.unary = [&](ServerContext*, const Msg*, Msg* message) {
    *message = Data(answer);
    return Status::OK;
  };
  answer = kDefault - 5;
  EXPECT_TRUE(Call(Msg()).ok());
  answer = kDefault - 4;
  status = Call(Msg());
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  answer = 0;
  EXPECT_TRUE(Call(Msg()).ok());
  ExpectAlive();
  StopServer();
}

TEST_P(Unary, SendLimitsOnBothSides) {
  ipcrpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(1000);
  Start([](ipcrpc::ServerBuilder& builder) { builder.SetMaxSendMessageSize(500); }, arguments);
  size_t answer = 500 - 3;
  service_.unary = [&](ServerContext*, const Msg*, Msg* message) {
    *message = Data(answer);
    return Status::OK;
  };
  EXPECT_TRUE(Call(Data(1000 - 3)).ok());
  EXPECT_EQ(Call(Data(1000 - 2)).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  answer = 500 - 2;
  EXPECT_EQ(Call(Msg()).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  answer = 1;
  EXPECT_TRUE(Call(Msg()).ok());
  StopServer();
}

TEST_P(Unary, UnknownMethodsAreUnimplementedAgainAndAgain) {
  Start();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(RawCall(channel_.get(), "/behaviour.Methods/Nothing", "").error_code(), StatusCode::UNIMPLEMENTED);
    EXPECT_EQ(RawCall(channel_.get(), "/nobody.Nowhere/Nothing", "").error_code(), StatusCode::UNIMPLEMENTED);
    EXPECT_EQ(RawCall(channel_.get(), "/behaviour.Methods/unary", "").error_code(), StatusCode::UNIMPLEMENTED);  // case counts
    EXPECT_EQ(RawCall(channel_.get(), "behaviour.Methods/Unary", "").error_code(), StatusCode::UNIMPLEMENTED);   // nor without the slash
    EXPECT_EQ(RawCall(channel_.get(), "", "").error_code(), StatusCode::UNIMPLEMENTED);
    Msg response;
    ClientContext context;
    EXPECT_EQ(stub_->Missing(&context, Msg(), &response).error_code(), StatusCode::UNIMPLEMENTED);
    ClientContext talk_context;
    auto stream = stub_->MissingTalk(&talk_context);
    stream->Write(Msg());
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  }
  EXPECT_TRUE(Call(Number(1)).ok());
}

class Nothing : public ipcrpc::Service {};

TEST_P(Unary, UnknownServicesAreUnimplementedInEveryShape) {
  Nothing nothing;
  server_ = Serve(nothing, address());
  Start();
  for (int i = 0; i < 3; ++i) {
    Msg message;
    ClientContext collect, emit, talk;
    EXPECT_EQ(Call(Msg()).error_code(), StatusCode::UNIMPLEMENTED);
    EXPECT_EQ(stub_->Collect(&collect, &message)->Finish().error_code(), StatusCode::UNIMPLEMENTED);
    auto reader = stub_->Emit(&emit, Msg());
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNIMPLEMENTED);
    auto stream = stub_->Talk(&talk);
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  }
  StopServer();
}

TEST_P(Unary, RequestThatDoesNotParseIsInternalAndTheHandlerDoesNotRun) {
  Start();
  std::atomic<int> runs{0};
  service_.unary = [&](ServerContext*, const Msg*, Msg*) { return ++runs, Status::OK; };
  service_.emit = [&](ServerContext*, const Msg*, ServerEmitter*) { return ++runs, Status::OK; };
  const std::string broken = "\x0a\xff\xff\xff";
  EXPECT_EQ(RawCall(channel_.get(), "/behaviour.Methods/Unary", broken).error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(RawCall(channel_.get(), "/behaviour.Methods/Emit", broken).error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(runs, 0);
  EXPECT_TRUE(Call(Msg()).ok());
  EXPECT_EQ(runs, 1);
  StopServer();
}

TEST_P(Unary, ThrowingHandlersEndTheirCallsWithUnknown) {
  Start();
  service_.unary = [&](ServerContext*, const Msg* request, Msg*) -> Status {
    if (request->number() == 1) throw std::runtime_error("on purpose");
    if (request->number() == 2) throw 42;
    return Status::OK;
  };
  service_.talk = [&](ServerContext*, ServerTalk* stream) -> Status {
    Msg message;
    stream->Read(&message);
    throw std::logic_error("in a stream");
  };
  EXPECT_EQ(Call(Number(1)).error_code(), StatusCode::UNKNOWN);
  EXPECT_EQ(Call(Number(2)).error_code(), StatusCode::UNKNOWN);
  EXPECT_TRUE(Call(Number(3)).ok());
  ClientContext context;
  auto stream = stub_->Talk(&context);
  Msg message;
  EXPECT_TRUE(stream->Write(message));
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNKNOWN);
  service_.emit = [](ServerContext*, const Msg*, ServerEmitter* writer) -> Status {
    writer->Write(Number(8));
    throw "after a message";
  };
  service_.collect = [](ServerContext*, ServerCollector*, Msg*) -> Status { throw Status::OK; };
  ClientContext emit_context, collect_context;
  auto reader = stub_->Emit(&emit_context, Msg());
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.number(), 8);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNKNOWN);
  EXPECT_EQ(stub_->Collect(&collect_context, &message)->Finish().error_code(), StatusCode::UNKNOWN);
  ExpectAlive();
  StopServer();
}

TEST_P(Unary, NestedCallsToOneselfDoNotDeadlock) {
  Start();
  // Each handler calls the next one on the same channel, several at once.
  service_.unary = [&](ServerContext*, const Msg* request, Msg* response) {
    if (request->number() > 0) {
      ClientContext context;
      context.set_deadline(In(20s));
      Status status = stub_->Unary(&context, Number(request->number() - 1), response);
      if (!status.ok()) return status;
    }
    response->set_number(response->number() + 1);
    return Status::OK;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        Msg response;
        const Status status = Call(Number(5), &response);
        EXPECT_TRUE(status.ok()) << status.error_message();
        EXPECT_EQ(response.number(), 6);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  StopServer();
}

TEST_P(Unary, FirstCallOfAServerMayBlockItsPoller) {
  // The very first task of a connection, before its poller has ever slept, calls the server again.
  for (int i = 0; i < 20; ++i) {
    LambdaService service;
    const auto place = NewPlace();
    const auto server = Serve(service, place->server());
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel(place->client()));
    service.unary = [&](ServerContext*, const Msg* request, Msg* response) {
      response->set_number(request->number());
      if (request->number() == 0) return Status::OK;
      ClientContext context;
      context.set_deadline(In(20s));
      return stub->Unary(&context, Number(0), response);
    };
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    const Status status = stub->Unary(&context, Number(1), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
}

TEST_P(Unary, SleepingHandlersHoldUpNobody) {
  Start();
  Event release;
  std::atomic<int> sleeping{0};
  service_.unary = [&](ServerContext*, const Msg* request, Msg* response) {
    if (request->text() == "sleep") {
      ++sleeping;
      EXPECT_TRUE(release.Wait());
    }
    response->set_number(request->number());
    return Status::OK;
  };
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 8; ++i) {
    sleepers.emplace_back([&] {
      Msg request;
      request.set_text("sleep");
      EXPECT_TRUE(Call(request).ok());
    });
  }
  ASSERT_TRUE(Eventually([&] { return sleeping == 8; }));
  // On the same connection, and on one of its own.
  const auto other = one_connection() ? nullptr : NewStub();
  for (Methods::Stub* stub : {stub_.get(), other.get()}) {
    if (stub == nullptr) continue;
    for (int i = 0; i < 100; ++i) {
      ClientContext context;
      context.set_deadline(In(20s));
      Msg response;
      EXPECT_TRUE(stub->Unary(&context, Number(i), &response).ok());
      EXPECT_EQ(response.number(), i);
    }
  }
  EXPECT_EQ(sleeping, 8);
  release.Set();
  for (std::thread& thread : sleepers) thread.join();
  StopServer();
}

// As google.rpc.Status is, for the helpers: a message with a code and a text.
struct Failure {
  int code() const { return static_cast<int>(parts.number()); }
  const std::string& message() const { return parts.text(); }
  std::string SerializeAsString() const { return parts.SerializeAsString(); }
  Msg parts;
};

TEST_P(Unary, ErrorDetailsPassThroughTheirHelpers) {
  Start();
  Failure failure;
  failure.parts.set_number(StatusCode::ABORTED);
  failure.parts.set_text("why");
  failure.parts.set_data(std::string("\0\xff", 2));
  service_.unary = [&](ServerContext*, const Msg*, Msg*) {
    Status status;
    EXPECT_TRUE(ipcrpc::SetErrorDetails(failure, &status).ok());
    return status;
  };
  const Status status = Call(Msg());
  EXPECT_EQ(status.error_code(), StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "why");
  Msg details;
  ASSERT_TRUE(ipcrpc::ExtractErrorDetails(status, &details).ok());
  EXPECT_EQ(details.SerializeAsString(), failure.SerializeAsString());
  StopServer();
}

TEST_P(Unary, PeerAndAuthContextAreKnownOnBothSides) {
  Start();
  std::string server_side;
  bool authenticated = false;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    server_side = context->peer();
    authenticated = context->auth_context() != nullptr && context->auth_context()->IsPeerAuthenticated();
    return Status::OK;
  };
  ClientContext context;
  EXPECT_NE(context.peer(), "");
  Msg response;
  ASSERT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  EXPECT_THAT(context.peer(), ::testing::StartsWith(std::string(scheme()) + ":"));
  EXPECT_NE(server_side, "");
  EXPECT_EQ(authenticated, GetParam() != "pipe");  // nobody vouches for who is there
  StopServer();
}

// The same over every transport: it is the context that knows.
TEST(UnaryDeathTest, SecondUseOfAContextStopsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a fork of these threads could hang
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel("unix:/nobody/there"));
  ClientContext context;
  Msg response;
  EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_DEATH(stub->Unary(&context, Msg(), &response).IgnoreError(), "serves one call");
}

BEHAVIOUR_SUITE(Unary);

}  // namespace
}  // namespace behaviour
