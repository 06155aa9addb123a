// A channel to a server of the same process, without an address.
#include "fixture.h"

namespace differential {
namespace {

class InProcessTest : public DifferentialTest {};

TEST_F(InProcessTest, ServesCallsWithinItsProcess) {
  Start();
  const std::shared_ptr<grpc::Channel> channel = server_->InProcessChannel(grpc::ChannelArguments());
  const auto stub = Methods::NewStub(channel);
  Msg response;
  EXPECT_TRUE(CallOn(*stub, Number(12), &response).ok());
  EXPECT_EQ(response.number(), 12);
  ClientContext context;
  const auto stream = stub->Talk(&context);
  EXPECT_TRUE(stream->Write(Number(13)) && stream->Read(&response));
  EXPECT_EQ(response.number(), 13);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
}

// (What a call does once the server is gone is not asked: gRPC crashes.)
TEST_F(InProcessTest, NeedsNoAddress) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  ASSERT_NE(server_, nullptr);
  const auto stub = Methods::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
  const auto second = Methods::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
  EXPECT_TRUE(CallOn(*stub).ok());
  EXPECT_TRUE(CallOn(*second).ok());
}

}  // namespace
}  // namespace differential
