// Calls without generated classes, and the health that a server offers by itself, over every transport. What compares with
// gRPC is in tests/differential.
#include <ipcrpc/generic/callback_generic_service.h>
#include <ipcrpc/generic/generic_stub.h>
#include <ipcrpc/health_check_service_interface.h>

#include <vector>

#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

using ipcrpc::ByteBuffer;
using ipcrpc::Slice;

ByteBuffer Bytes(const std::string& text) {
  const Slice slice(text);
  return ByteBuffer(&slice, 1);
}

std::string Text(const ByteBuffer& buffer) {
  std::vector<Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string text;
  for (const Slice& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

class GenericTest : public BehaviourTest {
 protected:
  Status Call(const std::string& method, const ByteBuffer& request, ByteBuffer* response) {
    ipcrpc::GenericStub stub(channel_);
    ClientContext context;
    context.set_deadline(In(20s));
    Event done;
    Status result;
    stub.UnaryCall(&context, method, ipcrpc::StubOptions(), &request, response, [&](Status status) {
      result = std::move(status);
      done.Set();
    });
    EXPECT_TRUE(done.Wait());
    return result;
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

// One message there, the method's name and that message back.
class Echoes final : public ipcrpc::CallbackGenericService {
 public:
  ipcrpc::ServerGenericBidiReactor* CreateReactor(ipcrpc::GenericCallbackServerContext* context) override {
    return new Reactor(context->method());
  }

 private:
  class Reactor final : public ipcrpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(std::string method) : method_(std::move(method)) { StartRead(&in_); }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(Status(StatusCode::INTERNAL, "no message came"));
      out_ = Bytes(method_ + " " + Text(in_));
      StartWriteAndFinish(&out_, ipcrpc::WriteOptions(), Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    const std::string method_;
    ByteBuffer in_, out_;
  };
};

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
