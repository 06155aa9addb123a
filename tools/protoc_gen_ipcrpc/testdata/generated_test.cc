// Generated services by themselves: what they register, and what their handlers make of calls, bytes in and
// out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <stdexcept>

#include "ipcrpc/ipcrpc.h"
#include "shapes/all_kinds.ipcrpc.pb.h"
#include "shapes/names.ipcrpc.pb.h"

namespace {

using ipcrpc::Status;
using ipcrpc::StatusCode;
using ipcrpc::internal::IncomingMessage;
using ipcrpc::internal::OutgoingMessage;
using ipcrpc::internal::RpcMethod;
using ipcrpc::internal::RpcServiceMethod;
using shapes::v1::AllKinds;
using shapes::v1::Request;
using shapes::v1::Response;
using testing::ElementsAre;

std::string BytesOf(const OutgoingMessage& message) {
  std::string bytes(message.size(message.message), '\0');
  message.write(message.message, reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  return bytes;
}

std::span<const std::byte> SpanOf(const std::string& bytes) {
  return {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};
}

Request RequestOf(const std::string& text) {
  Request request;
  request.set_text(text);
  return request;
}

Response ResponseOf(const std::string& bytes) {
  Response response;
  EXPECT_TRUE(response.ParseFromString(bytes));
  return response;
}

const std::string kNotARequest = "\xff\xff\xff";

// The seam's other side, held in memory.
class Reply final : public ipcrpc::internal::UnaryReply {
 public:
  void Finish(const Status& end, const OutgoingMessage* message) override {
    EXPECT_FALSE(status.has_value()) << "finished twice";
    status = end;
    if (message != nullptr) response = BytesOf(*message);
  }
  std::optional<Status> status;
  std::optional<std::string> response;
};

class Call final : public ipcrpc::internal::ServerCall {
 public:
  explicit Call(std::deque<std::string> incoming) : incoming_(std::move(incoming)) {}

  ipcrpc::ServerContext* context() override { return &context_; }
  bool Read(const IncomingMessage& message) override {
    if (incoming_.empty()) return false;
    const std::string bytes = incoming_.front();
    incoming_.pop_front();
    return message.parse(message.message, SpanOf(bytes).data(), bytes.size());
  }
  bool NextMessageSize(uint32_t* size) override {
    if (incoming_.empty()) return false;
    *size = static_cast<uint32_t>(incoming_.front().size());
    return true;
  }
  bool Write(const OutgoingMessage& message, ipcrpc::WriteOptions options) override {
    written.push_back(BytesOf(message));
    last.push_back(options.is_last_message());
    return true;
  }
  void SendInitialMetadata() override { ++metadata_sent; }

  std::vector<std::string> written;
  std::vector<bool> last;
  int metadata_sent = 0;

 private:
  ipcrpc::ServerContext context_;
  std::deque<std::string> incoming_;
};

// Each method does as its request's text says.
class Service final : public AllKinds::Service {
 public:
  Status Unary(ipcrpc::ServerContext*, const Request* request, Response* response) override {
    ++runs;
    response->set_number(static_cast<int>(request->text().size()));
    return Obey(request->text());
  }
  Status Upload(ipcrpc::ServerContext*, ipcrpc::ServerReader<Request::Part>* reader,
                Response* response) override {
    ++runs;
    Status status;
    for (Request::Part part; reader->Read(&part);) {
      response->set_number(response->number() + 1);
      status = Obey(part.data());
    }
    return status;
  }
  Status Download(ipcrpc::ServerContext*, const Request* request,
                  ipcrpc::ServerWriter<Request::Part>* writer) override {
    ++runs;
    writer->SendInitialMetadata();
    Request::Part part;
    part.set_data(request->text());
    writer->Write(part);
    writer->WriteLast(part, ipcrpc::WriteOptions());
    return Obey(request->text());
  }
  Status Chat(ipcrpc::ServerContext*, ipcrpc::ServerReaderWriter<Response, Request>* stream) override {
    ++runs;
    uint32_t size = 0;
    while (stream->NextMessageSize(&size)) {
      Request request;
      if (!stream->Read(&request)) break;
      Response response;
      response.set_number(static_cast<int>(size));
      stream->Write(response);
    }
    return Status(StatusCode::ABORTED, "chat is over");
  }

  int runs = 0;

 private:
  static Status Obey(const std::string& text) {
    if (text == "throw") throw std::runtime_error("no more");
    if (text == "throw 5") throw 5;
    if (text == "fail") return Status(StatusCode::NOT_FOUND, "not here", std::string("\0d", 2));
    return Status::OK;
  }
};

class GeneratedTest : public testing::Test {
 protected:
  RpcServiceMethod& Method(size_t index) { return *service_.methods()[index]; }

  Reply RunUnary(const std::string& bytes) {
    Reply reply;
    ipcrpc::ServerContext context;
    Method(0).handler()->RunUnary(&context, SpanOf(bytes), reply);
    return reply;
  }

  Service service_;
};

TEST_F(GeneratedTest, MethodsAreInTheirOrderWithTheirKinds) {
  std::vector<std::pair<std::string, RpcMethod::RpcType>> methods;
  for (const auto& method : service_.methods()) methods.emplace_back(method->name(), method->method_type());
  using testing::Pair;
  EXPECT_THAT(methods, ElementsAre(Pair("/shapes.v1.AllKinds/Unary", RpcMethod::NORMAL_RPC),
                                   Pair("/shapes.v1.AllKinds/Upload", RpcMethod::CLIENT_STREAMING),
                                   Pair("/shapes.v1.AllKinds/Download", RpcMethod::SERVER_STREAMING),
                                   Pair("/shapes.v1.AllKinds/Chat", RpcMethod::BIDI_STREAMING),
                                   Pair("/shapes.v1.AllKinds/Foreign", RpcMethod::NORMAL_RPC)));
}

TEST_F(GeneratedTest, NamesOnTheWireAreTheProtos) {
  namespace_::Service service;
  std::vector<std::string> names;
  for (const auto& method : service.methods()) names.push_back(method->name());
  EXPECT_THAT(names, ElementsAre("/namespace/delete", "/namespace/Service", "/namespace/Stub",
                                 "/namespace/new", "/namespace/context", "/namespace/AddMethod"));
}

TEST_F(GeneratedTest, WhatNobodyOverrodeIsUnimplementedAlsoWhenCalledDirectly) {
  AllKinds::Service plain;
  ipcrpc::ServerContext context;
  Request request;
  Response response;
  EXPECT_EQ(plain.Unary(&context, &request, &response).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(plain.Upload(&context, nullptr, &response).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(plain.Download(&context, &request, nullptr).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(plain.Chat(&context, nullptr).error_code(), StatusCode::UNIMPLEMENTED);
}

TEST_F(GeneratedTest, UnaryAnswers) {
  const Reply reply = RunUnary(RequestOf("four").SerializeAsString());
  EXPECT_TRUE(reply.status->ok());
  EXPECT_EQ(ResponseOf(reply.response.value()).number(), 4);
  EXPECT_TRUE(RunUnary("").status->ok()) << "no bytes are a message";
}

TEST_F(GeneratedTest, AFailedUnaryHasNoResponse) {
  const Reply reply = RunUnary(RequestOf("fail").SerializeAsString());
  EXPECT_EQ(reply.status->error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(reply.status->error_message(), "not here");
  EXPECT_EQ(reply.status->error_details(), std::string("\0d", 2));
  EXPECT_FALSE(reply.response.has_value());
}

TEST_F(GeneratedTest, WhateverIsThrownIsUnknown) {
  EXPECT_EQ(RunUnary(RequestOf("throw").SerializeAsString()).status->error_code(), StatusCode::UNKNOWN);
  EXPECT_EQ(RunUnary(RequestOf("throw 5").SerializeAsString()).status->error_code(), StatusCode::UNKNOWN);
  Call call({RequestOf("throw").SerializeAsString()});
  EXPECT_EQ(Method(2).handler()->RunStream(call).error_code(), StatusCode::UNKNOWN);
}

TEST_F(GeneratedTest, ARequestThatDoesNotParseIsInternalAndNotHandled) {
  EXPECT_EQ(RunUnary(kNotARequest).status->error_code(), StatusCode::INTERNAL);
  Call call({kNotARequest});
  EXPECT_EQ(Method(2).handler()->RunStream(call).error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(service_.runs, 0);
}

TEST_F(GeneratedTest, ClientStreamingAnswersOnceAfterAllRequests) {
  Request::Part part;
  Call call({part.SerializeAsString(), part.SerializeAsString()});
  EXPECT_TRUE(Method(1).handler()->RunStream(call).ok());
  ASSERT_EQ(call.written.size(), 1u);
  EXPECT_EQ(ResponseOf(call.written[0]).number(), 2);
  EXPECT_THAT(call.last, ElementsAre(true));
}

TEST_F(GeneratedTest, AFailedClientStreamHasNoResponse) {
  Request::Part part;
  part.set_data("fail");
  Call call({part.SerializeAsString()});
  EXPECT_EQ(Method(1).handler()->RunStream(call).error_code(), StatusCode::NOT_FOUND);
  EXPECT_TRUE(call.written.empty());
}

TEST_F(GeneratedTest, AStreamMessageThatDoesNotParseEndsTheReads) {
  Call call({kNotARequest});
  EXPECT_TRUE(Method(1).handler()->RunStream(call).ok());
  EXPECT_EQ(service_.runs, 1);
}

TEST_F(GeneratedTest, ServerStreamingWritesAndMarksTheLast) {
  Call call({RequestOf("x").SerializeAsString()});
  EXPECT_TRUE(Method(2).handler()->RunStream(call).ok());
  EXPECT_EQ(call.metadata_sent, 1);
  EXPECT_THAT(call.last, ElementsAre(false, true));
}

TEST_F(GeneratedTest, BidiReadsAndWritesInTurn) {
  Call call({RequestOf("a").SerializeAsString(), RequestOf("abc").SerializeAsString()});
  EXPECT_EQ(Method(3).handler()->RunStream(call).error_message(), "chat is over");
  ASSERT_EQ(call.written.size(), 2u);
  EXPECT_EQ(ResponseOf(call.written[0]).number(), 3);
  EXPECT_EQ(ResponseOf(call.written[1]).number(), 5);
}

// As google.rpc.Status has them.
struct Details {
  int code() const { return code_; }
  std::string message() const { return message_; }
  std::string SerializeAsString() const { return std::to_string(code_) + message_; }
  bool ParseFromString(const std::string& bytes) {
    if (bytes.empty()) return false;
    message_ = bytes;
    return true;
  }
  int code_ = 0;
  std::string message_;
};

TEST(ErrorDetailsTest, GoIntoAStatusAndOut) {
  Status status;
  EXPECT_TRUE(ipcrpc::SetErrorDetails(Details{5, "gone"}, &status).ok());
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "gone");
  EXPECT_EQ(status.error_details(), "5gone");
  Details back;
  EXPECT_TRUE(ipcrpc::ExtractErrorDetails(status, &back).ok());
  EXPECT_EQ(back.message_, "5gone");
}

TEST(ErrorDetailsTest, SayWhatIsWrong) {
  Status status;
  EXPECT_EQ(ipcrpc::SetErrorDetails(Details{}, nullptr).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(ipcrpc::SetErrorDetails(Details{99, ""}, &status).ok());
  EXPECT_EQ(status.error_code(), StatusCode::UNKNOWN);
  EXPECT_EQ(ipcrpc::ExtractErrorDetails<Details>(status, nullptr).error_code(),
            StatusCode::FAILED_PRECONDITION);
  Details details;
  EXPECT_EQ(ipcrpc::ExtractErrorDetails(Status::OK, &details).error_code(), StatusCode::INVALID_ARGUMENT);
}

}  // namespace
