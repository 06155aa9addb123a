// Statuses: what they hold, and how they reach the client.
#include <grpcpp/support/error_details.h>

#include <stdexcept>

#include "fixture.h"

namespace differential {
namespace {

class StatusTest : public DifferentialTest {};

TEST_F(StatusTest, Values) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().error_code(), StatusCode::OK);
  EXPECT_EQ(Status().error_message(), "");
  EXPECT_EQ(Status().error_details(), "");
  const Status two(StatusCode::NOT_FOUND, "not here");
  EXPECT_FALSE(two.ok());
  EXPECT_EQ(two.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(two.error_message(), "not here");
  EXPECT_EQ(two.error_details(), "");
  Status three(StatusCode::ABORTED, "again", std::string("\0\x01", 2));
  EXPECT_EQ(three.error_details(), std::string("\0\x01", 2));
  three = two;
  EXPECT_EQ(three.error_message(), "not here");
  three.IgnoreError();
  EXPECT_TRUE(Status::OK.ok());
  EXPECT_EQ(Status::CANCELLED.error_code(), StatusCode::CANCELLED);
}

TEST_F(StatusTest, CodesHaveTheirWellKnownNumbers) {
  const std::pair<StatusCode, int> codes[] = {{StatusCode::OK, 0},
                                              {StatusCode::CANCELLED, 1},
                                              {StatusCode::UNKNOWN, 2},
                                              {StatusCode::INVALID_ARGUMENT, 3},
                                              {StatusCode::DEADLINE_EXCEEDED, 4},
                                              {StatusCode::NOT_FOUND, 5},
                                              {StatusCode::ALREADY_EXISTS, 6},
                                              {StatusCode::PERMISSION_DENIED, 7},
                                              {StatusCode::RESOURCE_EXHAUSTED, 8},
                                              {StatusCode::FAILED_PRECONDITION, 9},
                                              {StatusCode::ABORTED, 10},
                                              {StatusCode::OUT_OF_RANGE, 11},
                                              {StatusCode::UNIMPLEMENTED, 12},
                                              {StatusCode::INTERNAL, 13},
                                              {StatusCode::UNAVAILABLE, 14},
                                              {StatusCode::DATA_LOSS, 15},
                                              {StatusCode::UNAUTHENTICATED, 16}};
  for (const auto& [code, number] : codes) EXPECT_EQ(static_cast<int>(code), number);
}

TEST_F(StatusTest, EveryCodeReachesTheClientOverEveryShape) {
  Start();
  const auto asked = [](const Msg& request) { return Status(static_cast<StatusCode>(request.number()), "asked for", "d"); };
  service_.unary = [&](ServerContext*, const Msg* request, Msg*) { return asked(*request); };
  service_.emit = [&](ServerContext*, const Msg* request, Emitter*) { return asked(*request); };
  service_.collect = [&](ServerContext*, Collector* reader, Msg*) {
    Msg message;
    reader->Read(&message);
    return asked(message);
  };
  service_.talk = [&](ServerContext*, Talker* stream) {
    Msg message;
    stream->Read(&message);
    return asked(message);
  };
  for (int code = 1; code <= 16; ++code) {
    std::vector<Status> seen = {Call(Number(code))};
    Msg message;
    {
      ClientContext context;
      const auto reader = stub_->Emit(&context, Number(code));
      EXPECT_FALSE(reader->Read(&message));
      seen.push_back(reader->Finish());
    }
    {
      ClientContext context;
      const auto writer = stub_->Collect(&context, &message);
      writer->Write(Number(code));
      seen.push_back(writer->Finish());
    }
    {
      ClientContext context;
      const auto stream = stub_->Talk(&context);
      stream->Write(Number(code));
      EXPECT_FALSE(stream->Read(&message));
      seen.push_back(stream->Finish());
    }
    for (const Status& status : seen) {
      EXPECT_EQ(status.error_code(), code);
      EXPECT_EQ(status.error_message(), "asked for");
      EXPECT_EQ(status.error_details(), "d");
    }
  }
  StopServer();
}

TEST_F(StatusTest, MessageAndDetailsTravelByteForByte) {
  Start();
  std::string control;
  for (char c = 1; c < 0x20; ++c) control.push_back(c);
  for (const std::string& text :
       {std::string("plain"), std::string(), std::string("  leading and trailing  "), std::string("100 % of %41 and %"), control + "\x7f",
        std::string("nul \0 inside", 12), std::string("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x9a\x80"), std::string(1000, ' '), std::string("\n")}) {
    for (const std::string& details : {std::string(), AllBytes(), std::string("\0", 1), std::string(2000, '\xff')}) {
      service_.unary = [&](ServerContext*, const Msg*, Msg*) { return Status(StatusCode::DATA_LOSS, text, details); };
      const Status status = Call();
      EXPECT_EQ(status.error_code(), StatusCode::DATA_LOSS);
      EXPECT_EQ(status.error_message(), text);
      EXPECT_EQ(status.error_details(), details);
    }
  }
  StopServer();
}

TEST_F(StatusTest, WithAnErrorTheResponseIsNotDeliveredButMetadataAre) {
  Start();
  service_.unary = [](ServerContext* context, const Msg*, Msg* response) {
    context->AddInitialMetadata("first", "1");
    context->AddTrailingMetadata("last", "2");
    response->set_text("must not arrive");
    return Status(StatusCode::OUT_OF_RANGE, "no");
  };
  service_.collect = [](ServerContext*, Collector*, Msg* response) {
    response->set_text("must not arrive");
    return Status(StatusCode::OUT_OF_RANGE, "no");
  };
  Msg response;
  response.set_text("as it was");
  ClientContext context;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(response.text(), "as it was");
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "first"), ElementsAre("1"));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "last"), ElementsAre("2"));
  ClientContext collect_context;
  EXPECT_EQ(stub_->Collect(&collect_context, &response)->Finish().error_code(), StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(response.text(), "as it was");
}

TEST_F(StatusTest, ErrorDetailsThroughTheirHelpers) {
  Failure failure;
  failure.set_code(StatusCode::ABORTED);
  failure.set_message("lost the race");
  failure.add_more(AllBytes());
  Status status;
  ASSERT_TRUE(grpc::SetErrorDetails(failure, &status).ok());
  EXPECT_EQ(status.error_code(), StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "lost the race");

  Start();
  service_.unary = [&](ServerContext*, const Msg*, Msg*) { return status; };
  const Status received = Call();
  Failure read;
  ASSERT_TRUE(grpc::ExtractErrorDetails(received, &read).ok());
  EXPECT_EQ(read.SerializeAsString(), failure.SerializeAsString());

  EXPECT_EQ(grpc::SetErrorDetails(failure, nullptr).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(grpc::ExtractErrorDetails(received, static_cast<Failure*>(nullptr)).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(grpc::ExtractErrorDetails(Status(StatusCode::ABORTED, "", "\xff\xff"), &read).error_code(), StatusCode::INVALID_ARGUMENT);
  for (const int unknown : {17, 99, -1}) {
    failure.set_code(unknown);
    ASSERT_TRUE(grpc::SetErrorDetails(failure, &status).ok());
    EXPECT_EQ(status.error_code(), StatusCode::UNKNOWN) << unknown;
    EXPECT_EQ(status.error_message(), "lost the race");
  }
  StopServer();
}

TEST_F(StatusTest, HandlersThatThrowEndTheirCallsWithUnknown) {
  Start();
  service_.unary = [](ServerContext*, const Msg* request, Msg*) -> Status {
    if (request->number() == 1) throw std::runtime_error("on purpose");
    if (request->number() == 2) throw 42;
    return Status::OK;
  };
  service_.emit = [](ServerContext*, const Msg*, Emitter* writer) -> Status {
    writer->Write(Number(1));
    throw std::logic_error("in a stream");
  };
  service_.collect = [](ServerContext*, Collector*, Msg*) -> Status { throw "a string"; };
  service_.talk = [](ServerContext*, Talker*) -> Status { throw Status::CANCELLED; };
  EXPECT_EQ(Call(Number(1)).error_code(), StatusCode::UNKNOWN);
  EXPECT_EQ(Call(Number(2)).error_code(), StatusCode::UNKNOWN);
  EXPECT_TRUE(Call(Number(3)).ok());
  Msg message;
  ClientContext emit, collect, talk;
  const auto reader = stub_->Emit(&emit, Msg());
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNKNOWN);
  EXPECT_EQ(stub_->Collect(&collect, &message)->Finish().error_code(), StatusCode::UNKNOWN);
  EXPECT_EQ(stub_->Talk(&talk)->Finish().error_code(), StatusCode::UNKNOWN);
  EXPECT_TRUE(Call(Number(4)).ok());
  ExpectAlive();
}

TEST_F(StatusTest, UnknownServicesAndMethodsAreUnimplementedInEveryShape) {
  Start();
  const auto absent = Absent::NewStub(channel_);
  const auto other_case = methods::NewStub(channel_);
  for (int i = 0; i < 3; ++i) {
    Msg message;
    ClientContext unary, collect, emit, talk, cased;
    EXPECT_EQ(absent->Unary(&unary, Msg(), &message).error_code(), StatusCode::UNIMPLEMENTED);
    EXPECT_EQ(other_case->Unary(&cased, Msg(), &message).error_code(), StatusCode::UNIMPLEMENTED);
    const auto writer = absent->Collect(&collect, &message);
    EXPECT_EQ(writer->Finish().error_code(), StatusCode::UNIMPLEMENTED);
    const auto reader = absent->Emit(&emit, Msg());
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNIMPLEMENTED);
    const auto stream = absent->Talk(&talk);
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  }
  EXPECT_TRUE(Call().ok());
}

}  // namespace
}  // namespace differential
