// Generated code for the callback API by itself: mocks of stubs, layers of services, handlers over a call held in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "ipcrpc/ipcrpc.h"
#include "shapes/all_kinds.ipcrpc.pb.h"
#include "shapes/names.ipcrpc.pb.h"

namespace {

using ipcrpc::ByteBuffer;
using ipcrpc::CallbackServerContext;
using ipcrpc::Status;
using ipcrpc::StatusCode;
using ipcrpc::WriteOptions;
using shapes::v1::AllKinds;
using shapes::v1::Request;
using shapes::v1::Response;
using testing::ElementsAre;

// ---- a stub that is a mock -------------------------------------------------------------------

// Answers each write with its length, without any library beneath.
class MockChat final : public ipcrpc::ClientCallbackReaderWriter<Request, Response> {
 public:
  explicit MockChat(ipcrpc::ClientBidiReactor<Request, Response>* reactor) : reactor_(reactor) { BindReactor(reactor); }
  void StartCall() override { reactor_->OnReadInitialMetadataDone(true); }
  void Write(const Request* request, WriteOptions options) override {
    sizes_.push_back(static_cast<int>(request->text().size()));
    last_ = options.is_last_message();
    reactor_->OnWriteDone(true);
  }
  void WritesDone() override { last_ = true; }
  void Read(Response* response) override {
    if (sizes_.empty()) return reactor_->OnDone(Status(StatusCode::OUT_OF_RANGE, last_ ? "last" : ""));
    response->set_number(sizes_.back());
    sizes_.pop_back();
    reactor_->OnReadDone(true);
  }
  void AddHold(int) override {}
  void RemoveHold() override {}

 private:
  ipcrpc::ClientBidiReactor<Request, Response>* const reactor_;
  std::vector<int> sizes_;
  bool last_ = false;
};

class MockAsync final : public AllKinds::StubInterface::async_interface {
 public:
  using Context = ipcrpc::ClientContext;
  void Unary(Context*, const Request* request, Response* response, std::function<void(Status)> on_done) override {
    response->set_number(static_cast<int>(request->text().size()));
    on_done(Status::OK);
  }
  void Unary(Context*, const Request*, Response*, ipcrpc::ClientUnaryReactor*) override {}
  void Upload(Context*, Response*, ipcrpc::ClientWriteReactor<Request::Part>*) override {}
  void Download(Context*, const Request*, ipcrpc::ClientReadReactor<Request::Part>*) override {}
  void Chat(Context*, ipcrpc::ClientBidiReactor<Request, Response>* reactor) override { chat.emplace(reactor); }
  void Foreign(Context*, const google::protobuf::Empty*, elsewhere::Outer_Inner*, std::function<void(Status)>) override {}
  void Foreign(Context*, const google::protobuf::Empty*, elsewhere::Outer_Inner*, ipcrpc::ClientUnaryReactor*) override {}

  std::optional<MockChat> chat;
};

// What a program makes of any stub.
int AskThroughAnyStub(AllKinds::StubInterface::async_interface& async, const std::string& text) {
  ipcrpc::ClientContext context;
  Request request;
  request.set_text(text);
  Response response;
  async.Unary(&context, &request, &response, [](const Status& status) { EXPECT_TRUE(status.ok()); });
  return response.number();
}

TEST(CallbackStubTest, AsyncStubsCanBeMocked) {
  MockAsync async;
  EXPECT_EQ(AskThroughAnyStub(async, "four"), 4);

  struct Chatter final : ipcrpc::ClientBidiReactor<Request, Response> {
    void OnReadInitialMetadataDone(bool ok) override { said.push_back(ok ? "initial" : "no initial"); }
    void OnWriteDone(bool) override { StartRead(&response); }
    void OnReadDone(bool) override {
      said.push_back(std::to_string(response.number()));
      StartRead(&response);
    }
    void OnDone(const Status& status) override { said.push_back("done " + status.error_message()); }
    Response response;
    std::vector<std::string> said;
  } chatter;
  ipcrpc::ClientContext context;
  async.Chat(&context, &chatter);
  chatter.StartCall();
  Request request;
  request.set_text("abc");
  chatter.StartWriteLast(&request, WriteOptions());
  EXPECT_THAT(chatter.said, ElementsAre("initial", "3", "done last"));
}

TEST(CallbackStubTest, AStubKnowsItsAsyncForm) {
  const auto stub = AllKinds::NewStub(ipcrpc::CreateChannel("shm:nobody"));
  AllKinds::StubInterface& any = *stub;
  EXPECT_NE(any.async(), nullptr);
  EXPECT_EQ(any.async(), any.experimental_async());
}

// ---- services --------------------------------------------------------------------------------

// A call without a connection.
class Call final : public ipcrpc::internal::ServerCallbackCall {
 public:
  explicit Call(std::string request) : request_(std::move(request)) {}
  ~Call() {
    if (release_ != nullptr) release_(object_);
  }
  CallbackServerContext* context() override { return &context_; }
  ipcrpc::GenericCallbackServerContext* generic_context() override { return &context_; }
  bool ParseRequest(const ipcrpc::internal::IncomingMessage& message) override {
    return message.parse(message.message, reinterpret_cast<const std::byte*>(request_.data()), request_.size());
  }
  void* Allocate(size_t bytes) override {
    memory_ = std::make_unique<std::byte[]>(bytes);
    return memory_.get();
  }
  void ReleaseAtEnd(void* object, void (*release)(void*)) override {
    object_ = object;
    release_ = release;
  }
  void Bind(ipcrpc::internal::ServerReactor* bound, const ipcrpc::internal::OutgoingMessage* response) override {
    reactor = bound;
    if (response != nullptr) response_ = *response;
    ipcrpc::ServerUnaryReactor* unary = dynamic_cast<ipcrpc::ServerUnaryReactor*>(bound);
    ASSERT_NE(unary, nullptr);
  }
  void FailAtOnce(const Status& end) override { status = end; }
  void SendInitialMetadata() override {}
  void Read(const ipcrpc::internal::IncomingMessage&) override {}
  void Write(const ipcrpc::internal::OutgoingMessage&, WriteOptions) override {}
  void WriteAndFinish(const ipcrpc::internal::OutgoingMessage&, WriteOptions, Status) override {}
  void Finish(Status end) override { status = end; }

  std::string Response() const {
    std::string bytes(response_.size(response_.message), '\0');
    response_.write(response_.message, reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
    return bytes;
  }

  ipcrpc::internal::ServerReactor* reactor = nullptr;
  std::optional<Status> status;

 private:
  const std::string request_;
  ipcrpc::GenericCallbackServerContext context_;
  std::unique_ptr<std::byte[]> memory_;
  void* object_ = nullptr;
  void (*release_)(void*) = nullptr;
  ipcrpc::internal::OutgoingMessage response_ = {};
};

// Two methods with callbacks, one of them with bytes; the others wait.
class Layered final : public AllKinds::WithRawCallbackMethod_Foreign<AllKinds::WithCallbackMethod_Unary<AllKinds::Service>> {
 public:
  ipcrpc::ServerUnaryReactor* Unary(CallbackServerContext* context, const Request* request, Response* response) override {
    response->set_number(static_cast<int>(request->text().size()));
    context->DefaultReactor()->Finish(Status::OK);
    return context->DefaultReactor();
  }
  ipcrpc::ServerUnaryReactor* Foreign(CallbackServerContext* context, const ByteBuffer* request, ByteBuffer* response) override {
    *response = *request;
    return context->DefaultReactor();
  }
};

TEST(CallbackServiceTest, LayersChangeOneMethodEach) {
  Layered service;
  std::vector<bool> callback;
  for (const auto& method : service.methods()) callback.push_back(method->handler()->is_callback());
  EXPECT_THAT(callback, ElementsAre(true, false, false, false, true));
  AllKinds::CallbackService all;
  for (const auto& method : all.methods()) EXPECT_TRUE(method->handler()->is_callback()) << method->name();
}

TEST(CallbackServiceTest, HandlersTakeAndGiveMessages) {
  Layered service;
  Request request;
  request.set_text("four");
  Call call(request.SerializeAsString());
  service.methods()[0]->handler()->RunCallback(call);
  EXPECT_NE(call.reactor, nullptr);
  Response response;
  EXPECT_TRUE(response.ParseFromString(call.Response()));
  EXPECT_EQ(response.number(), 4);

  Call raw("\xff any bytes");
  service.methods()[4]->handler()->RunCallback(raw);
  EXPECT_EQ(raw.Response(), "\xff any bytes");

  Call broken("\xff\xff\xff");
  service.methods()[0]->handler()->RunCallback(broken);
  EXPECT_EQ(broken.status->error_code(), StatusCode::UNIMPLEMENTED);
}

TEST(CallbackServiceTest, WhatNobodyOverrodeIsUnimplemented) {
  AllKinds::CallbackService plain;
  CallbackServerContext context;
  EXPECT_EQ(plain.Unary(&context, nullptr, nullptr), nullptr);
  Call call("");
  plain.methods()[0]->handler()->RunCallback(call);
  EXPECT_EQ(call.status->error_code(), StatusCode::UNIMPLEMENTED);
  ipcrpc::ServerContext sync_context;
  EXPECT_EQ(plain.Unary(&sync_context, nullptr, nullptr).error_code(), StatusCode::UNIMPLEMENTED);
}

}  // namespace
