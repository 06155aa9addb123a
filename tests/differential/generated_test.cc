// What generated classes are made of, as users write against it.
#include <cstring>
#include <type_traits>

#include "fixture.h"

namespace differential {
namespace {

static_assert(std::is_base_of_v<Methods::StubInterface, Methods::Stub>);
static_assert(std::is_base_of_v<grpc::Service, Methods::Service>);

// Its handlers are those of the generated class.
class Plain : public Absent::Service {};

class GeneratedTest : public DifferentialTest {};

TEST_F(GeneratedTest, FullNames) {
  EXPECT_STREQ(Methods::service_full_name(), "differential.Methods");
  EXPECT_STREQ(methods::service_full_name(), "differential.methods");
}

TEST_F(GeneratedTest, HandlersAreUnimplementedByDefault) {
  Plain plain;
  Start([&](grpc::ServerBuilder& builder) { builder.RegisterService(&plain); });
  const auto stub = Absent::NewStub(channel_);
  Msg message;
  ClientContext unary, collect, emit, talk;
  EXPECT_EQ(stub->Unary(&unary, Msg(), &message).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(stub->Collect(&collect, &message)->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(stub->Emit(&emit, Msg())->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(stub->Talk(&talk)->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  StopServer();
}

TEST_F(GeneratedTest, HandlersCanBeCalledDirectly) {
  ServerContext context;
  Msg response;
  const Msg request = Number(7);
  EXPECT_TRUE(service_.Unary(&context, &request, &response).ok());
  EXPECT_EQ(response.number(), 7);
  EXPECT_EQ(service_.Methods::Service::Unary(&context, &request, &response).error_code(), StatusCode::UNIMPLEMENTED);
  Plain plain;
  EXPECT_EQ(plain.Unary(nullptr, nullptr, nullptr).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(plain.Collect(nullptr, nullptr, nullptr).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(plain.Emit(nullptr, nullptr, nullptr).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(plain.Talk(nullptr, nullptr).error_code(), StatusCode::UNIMPLEMENTED);
}

// What is written against the interfaces works with the stub of a channel.
TEST_F(GeneratedTest, StubsWorkThroughTheirInterface) {
  Start();
  Methods::StubInterface& stub = *stub_;
  Msg message;
  ClientContext unary, collect, emit, talk;
  EXPECT_TRUE(stub.Unary(&unary, Number(1), &message).ok());

  std::unique_ptr<grpc::ClientWriterInterface<Msg>> writer = stub.Collect(&collect, &message);
  EXPECT_TRUE(writer->Write(Number(20)));
  EXPECT_TRUE(writer->Write(Number(22), grpc::WriteOptions()));
  EXPECT_TRUE(writer->WritesDone());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(message.number(), 42);

  std::unique_ptr<grpc::ClientReaderInterface<Msg>> reader = stub.Emit(&emit, Number(2));
  reader->WaitForInitialMetadata();
  uint32_t size = 0;  // an upper bound, of which gRPC makes no more than it must
  EXPECT_TRUE(reader->NextMessageSize(&size));
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.number(), 1);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());

  std::unique_ptr<grpc::ClientReaderWriterInterface<Msg, Msg>> stream = stub.Talk(&talk);
  stream->WriteLast(Number(5), grpc::WriteOptions());
  stream->WaitForInitialMetadata();
  EXPECT_TRUE(stream->NextMessageSize(&size));
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.number(), 5);
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(GeneratedTest, StubOptionsAreTaken) {
  Start();
  const auto stub = Methods::NewStub(channel_, grpc::StubOptions());
  EXPECT_TRUE(CallOn(*stub).ok());
  const auto named = Methods::NewStub(channel_, grpc::StubOptions("suffix"));
  EXPECT_TRUE(CallOn(*named).ok());
}

}  // namespace
}  // namespace differential
