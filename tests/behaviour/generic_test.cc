// Calls without generated classes, and the health that a server offers by itself, over every transport. What compares with
// gRPC is in tests/differential.
#include <ipcrpc/bytes_payload.h>
#include <ipcrpc/health_check_service_interface.h>

#include <vector>

#include "tests/behaviour/fixture.h"
#include "tests/behaviour/generic_kit.h"

namespace behaviour {
namespace {

class GenericTest : public BehaviourTest {
 protected:
  Status Call(const std::string& method, const ByteBuffer& request, ByteBuffer* response) {
    return CallByName(channel_, method, request, response);
  }
};
BEHAVIOUR_SUITE(GenericTest);

TEST_P(GenericTest, CallsByNameReachTypedHandlers) {
  Start();
  Msg request, response;
  request.set_number(7);
  ByteBuffer bytes;
  ASSERT_TRUE(Call("/behaviour.Methods/Unary", Bytes(request.SerializeAsString()), &bytes).ok());
  ASSERT_TRUE(response.ParseFromString(Text(bytes)));
  EXPECT_EQ(response.number(), 7);
  EXPECT_EQ(Call("/behaviour.Methods/NoSuch", Bytes(""), &bytes).error_code(), StatusCode::UNIMPLEMENTED);
  StopServer();
}

// The message is one of slices: its first field is all that it has of a Msg.
TEST_P(GenericTest, ACallerMayWaitByItself) {
  Start();
  ipcrpc::TemplatedGenericStub<ipcrpc::BytesPayload, ipcrpc::BytesPayload> stub(channel_);
  const auto call = [&](const std::string& method, const ipcrpc::BytesPayload& request, ipcrpc::BytesPayload* response) {
    ClientContext context;
    context.set_deadline(In(20s));
    return stub.UnaryCall(&context, method, ipcrpc::StubOptions(), &request, response);
  };
  ipcrpc::BytesPayload response;
  for (const size_t size : {0u, 1u, 5000u, 1'000'000u}) {
    const std::string data(size, 'x');
    const Status status = call("/behaviour.Methods/Unary", {.data = Slice(data)}, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(std::string(response.data.begin(), response.data.end()), data);
  }
  EXPECT_EQ(call("/behaviour.Methods/NoSuch", {}, &response).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(response.data.size(), 1'000'000u) << "it is left alone when the call fails";
  StopServer();
}

// More names than are remembered, and one that is too long to be: each is known by what was sent, the second time too.
TEST_P(GenericTest, AGenericServiceKnowsEachCallByItsName) {
  Echoes echoes;
  auto server = Serve(service_, address(), [&](ipcrpc::ServerBuilder& builder) { builder.RegisterCallbackGenericService(&echoes); });
  ASSERT_NE(server, nullptr);
  channel_ = ipcrpc::CreateChannel(client_address());
  std::vector<std::string> methods = {"/a.B/" + std::string(1000, 'c')};
  for (int i = 0; i < 1500; ++i) methods.push_back("/generic.Names/Number" + std::to_string(i));
  for (const std::string& method : methods) {
    for (int i = 0; i < 2; ++i) {
      ByteBuffer response;
      const Status status = Call(method, Bytes("hello"), &response);
      ASSERT_TRUE(status.ok()) << method << ": " << status.error_message();
      ASSERT_EQ(Text(response), method + " hello");
    }
  }
  channel_.reset();
  server->Shutdown();
}

// Messages by hand: field 1 of the request is the service's name, of the response the status.
TEST_P(GenericTest, AServerTellsItsHealth) {
  ipcrpc::EnableDefaultHealthCheckService(true);
  auto server = Serve(service_, address(), [](ipcrpc::ServerBuilder&) {});
  ipcrpc::EnableDefaultHealthCheckService(false);
  ASSERT_NE(server, nullptr);
  channel_ = ipcrpc::CreateChannel(client_address());
  const std::string kCheck = "/grpc.health.v1.Health/Check", kOfA = "\x0a\x01" "a", kServing = "\x08\x01", kNotServing = "\x08\x02";
  ByteBuffer response;
  ASSERT_TRUE(Call(kCheck, Bytes(""), &response).ok());
  EXPECT_EQ(Text(response), kServing);
  EXPECT_EQ(Call(kCheck, Bytes(kOfA), &response).error_code(), StatusCode::NOT_FOUND);
  ASSERT_NE(server->GetHealthCheckService(), nullptr);
  server->GetHealthCheckService()->SetServingStatus("a", false);
  ASSERT_TRUE(Call(kCheck, Bytes(kOfA), &response).ok());
  EXPECT_EQ(Text(response), kNotServing);
  channel_.reset();
  server->Shutdown();
}

}  // namespace
}  // namespace behaviour
